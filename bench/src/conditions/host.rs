//! The machine as a whole.

use std::fs;
use std::path::Path;

use crate::outcome::Condition;

use super::cores::{self, Cores};
use super::{condition, text};

/// The conditions that affect its speed.
pub fn read(root: &Path) -> Vec<Condition> {
    let cores = Cores::read(root);
    let unknown = || "unknown".to_owned();
    let or_unknown = |path: &str| text(root, path).unwrap_or_else(unknown);
    let flags = cpu_info(root, "flags").unwrap_or_default();
    let is_virtual = flags.split_whitespace().any(|flag| flag == "hypervisor");
    let machine = if is_virtual { "virtual (it has a hypervisor)" } else { "no hypervisor" };
    let clock = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    vec![
        condition("kernel", or_unknown("proc/sys/kernel/osrelease")),
        condition("CPU", cpu_info(root, "model name").unwrap_or_else(unknown)),
        condition("cores online", cores::shown(&cores.online)),
        condition("cores isolated", cores::shown(&cores.isolated)),
        condition("cores without a tick (nohz_full)", cores::shown(&cores.tickless)),
        condition("governor", cores.governor()),
        condition("SMT", cores.smt),
        condition("machine", machine),
        condition("clock source", or_unknown(clock)),
        condition("mitigations", mitigations(root)),
    ]
}

/// The load average of the last minute.
pub fn load_average(root: &Path) -> f64 {
    let text = text(root, "proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// A value of the first core in /proc/cpuinfo.
fn cpu_info(root: &Path, name: &str) -> Option<String> {
    let text = text(root, "proc/cpuinfo")?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim().to_owned())
}

/// The active mitigations of CPU vulnerabilities; "Not affected" is left out.
fn mitigations(root: &Path) -> String {
    let folder = root.join("sys/devices/system/cpu/vulnerabilities");
    let names = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let line = |path: &Path| {
        let text = fs::read_to_string(path).ok()?;
        let told = text.trim().strip_prefix("Mitigation: ").unwrap_or(text.trim());
        (told != "Not affected").then(|| Some(format!("{}: {told}", path.file_name()?.to_string_lossy())))?
    };
    let mut lines: Vec<String> = names.filter_map(|path| line(&path)).collect();
    lines.sort();
    if lines.is_empty() { "none".to_owned() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Tree;
    use super::*;

    fn value(all: &[Condition], name: &str) -> String {
        all.iter().find(|condition| condition.name == name).unwrap().value.clone()
    }

    #[test]
    fn a_machine_is_described_from_its_files() {
        let flaw = "sys/devices/system/cpu/vulnerabilities";
        let (one, two) = (format!("{flaw}/meltdown"), format!("{flaw}/spectre_v1"));
        let tree = Tree::new(&[
            ("proc/sys/kernel/osrelease", "6.12.1-test\n"),
            ("proc/cpuinfo", "model name\t: Fake CPU 3\nflags\t\t: fpu hypervisor lm\n"),
            ("proc/loadavg", "1.25 0.5 0.1 1/100 5\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock\n"),
            (&one, "Not affected\n"),
            (&two, "Mitigation: barriers\n"),
        ]);
        let all = read(tree.path());
        assert_eq!(value(&all, "kernel"), "6.12.1-test");
        assert_eq!(value(&all, "CPU"), "Fake CPU 3");
        assert_eq!(
            (value(&all, "cores online"), value(&all, "cores isolated")),
            ("0,1".into(), "none".into())
        );
        assert_eq!(value(&all, "machine"), "virtual (it has a hypervisor)");
        assert_eq!(value(&all, "clock source"), "kvm-clock");
        assert_eq!(value(&all, "mitigations"), "spectre_v1: barriers");
        assert_eq!(load_average(tree.path()), 1.25);
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        let tree = Tree::new(&[("proc/cpuinfo", "flags : fpu\n")]);
        let all = read(tree.path());
        assert_eq!((value(&all, "kernel"), value(&all, "CPU")), ("unknown".into(), "unknown".into()));
        assert_eq!(value(&all, "machine"), "no hypervisor");
        assert_eq!(load_average(tree.path()), 0.0);
    }
}
