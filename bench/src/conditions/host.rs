//! The machine: its CPU and cores, and who else may use them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::outcome::Condition;

use super::{condition, text};

const CPU: &str = "sys/devices/system/cpu";

/// The conditions that affect its speed.
pub fn read(root: &Path) -> Vec<Condition> {
    let told = |path: &str| text(root, path).unwrap_or_else(|| "unknown".to_owned());
    let cpu = |name: &str| told(&format!("{CPU}/{name}"));
    let info = told("proc/cpuinfo");
    let info = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim())
    };
    let is_virtual = info("flags").split_whitespace().any(|flag| flag == "hypervisor");
    let governors = cores(root, "online").into_iter().filter_map(|core| governor(root, core));
    vec![
        condition("time", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
        condition("kernel", told("proc/sys/kernel/osrelease")),
        condition("CPU", info("model name")),
        condition("cores online", cpu("online")),
        condition(
            "cores isolated",
            text(root, &format!("{CPU}/isolated")).unwrap_or_else(|| "none".to_owned()),
        ),
        condition("cores without a tick (nohz_full)", cpu("nohz_full")),
        condition("governor", listed(governors, ", ")),
        condition("SMT", cpu("smt/control")),
        condition("machine", if is_virtual { "virtual (it has a hypervisor)" } else { "no hypervisor" }),
        condition("clock source", told("sys/devices/system/clocksource/clocksource0/current_clocksource")),
        condition("mitigations", mitigations(root)),
    ]
}

/// The load average of the last minute.
pub fn load_average(root: &Path) -> f64 {
    let text = text(root, "proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// The active mitigations of CPU vulnerabilities; "Not affected" is left out.
fn mitigations(root: &Path) -> String {
    let flaws = fs::read_dir(root.join(CPU).join("vulnerabilities")).into_iter().flatten().flatten();
    let told = flaws.filter_map(|flaw| {
        let text = fs::read_to_string(flaw.path()).ok()?;
        let text = text.trim().trim_start_matches("Mitigation: ");
        (text != "Not affected").then(|| format!("{}: {text}", flaw.file_name().to_string_lossy()))
    });
    listed(told, "; ")
}

/// Each of them once, in order.
fn listed(all: impl Iterator<Item = String>, by: &str) -> String {
    let all: BTreeSet<String> = all.collect();
    if all.is_empty() { "none".to_owned() } else { Vec::from_iter(all).join(by) }
}

/// A list of cores: "online", "isolated", or those that share a core's execution units.
pub fn cores(root: &Path, name: &str) -> Vec<usize> {
    numbers(&text(root, &format!("{CPU}/{name}")).unwrap_or_default())
}

/// The frequency governor of a core; `None` if the kernel does not control its frequency,
/// as in most virtual machines.
pub fn governor(root: &Path, core: usize) -> Option<String> {
    text(root, &format!("{CPU}/cpu{core}/cpufreq/scaling_governor"))
}

/// Parses a kernel list of numbers: "0-2,5".
fn numbers(text: &str) -> Vec<usize> {
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Some(from.parse::<usize>().ok()?..=to.parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
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
        let file = |name: &str| format!("{CPU}/{name}");
        let files = [
            ("proc/sys/kernel/osrelease".to_owned(), "6.12.1-test\n"),
            ("proc/cpuinfo".to_owned(), "model name\t: Fake CPU 3\nflags\t\t: fpu hypervisor lm\n"),
            ("proc/loadavg".to_owned(), "1.25 0.5 0.1 1/100 5\n"),
            (file("online"), "0-1\n"),
            (file("smt/control"), "on\n"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource".to_owned(), "kvm-clock\n"),
            (file("vulnerabilities/meltdown"), "Not affected\n"),
            (file("vulnerabilities/spectre_v1"), "Mitigation: barriers\n"),
            (file("cpu0/cpufreq/scaling_governor"), "powersave\n"),
            (file("cpu1/cpufreq/scaling_governor"), "performance\n"),
            (file("cpu0/topology/thread_siblings_list"), "0,2\n"),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let tree = Tree::new(&files);
        let all = read(tree.path());
        for (name, expected) in [
            ("kernel", "6.12.1-test"),
            ("CPU", "Fake CPU 3"),
            ("cores online", "0-1"),
            ("cores isolated", "none"),
            ("governor", "performance, powersave"),
            ("SMT", "on"),
            ("machine", "virtual (it has a hypervisor)"),
            ("clock source", "kvm-clock"),
            ("mitigations", "spectre_v1: barriers"),
        ] {
            assert_eq!(value(&all, name), expected);
        }
        assert_eq!(load_average(tree.path()), 1.25);
        assert_eq!(cores(tree.path(), "cpu0/topology/thread_siblings_list"), [0, 2]);
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        let tree = Tree::new(&[("proc/cpuinfo", "flags : fpu\n")]);
        let all = read(tree.path());
        assert_eq!((value(&all, "kernel"), value(&all, "CPU")), ("unknown".into(), "unknown".into()));
        assert_eq!(
            (value(&all, "machine"), value(&all, "governor")),
            ("no hypervisor".into(), "none".into())
        );
        assert_eq!(load_average(tree.path()), 0.0);
    }

    #[test]
    fn lists_of_numbers_are_read() {
        assert_eq!(numbers("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(numbers("7"), [7]);
        assert_eq!(numbers(""), [0; 0]);
        assert_eq!(numbers("(null)"), [0; 0], "as nohz_full has it");
    }
}
