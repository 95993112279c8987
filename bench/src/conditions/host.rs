//! The machine: its CPU and cores, and who else may use them.

use std::fs;
use std::path::Path;

use crate::outcome::Condition;

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
        condition("cores online", shown(&cores.online)),
        condition("cores isolated", shown(&cores.isolated)),
        condition("cores without a tick (nohz_full)", shown(&cores.tickless)),
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

/// The kernel's information about cores.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cores {
    /// Cores that are online.
    pub online: Vec<usize>,
    /// Isolated from the scheduler.
    pub isolated: Vec<usize>,
    /// Without a timer tick while one thread runs (nohz_full).
    pub tickless: Vec<usize>,
    /// The frequency governor of each; empty if the kernel does not control the
    /// frequency, as in most virtual machines.
    pub governors: Vec<(usize, String)>,
    /// "on", "off", "notsupported", ...
    pub smt: String,
    /// For each core, the cores that share its execution units, including itself.
    siblings: Vec<(usize, Vec<usize>)>,
}

impl Cores {
    /// Reads the information.
    pub fn read(root: &Path) -> Self {
        let cpu = |name: &str| text(root, &format!("sys/devices/system/cpu/{name}"));
        let list = |name: &str| cpu(name).map(|text| numbers(&text)).unwrap_or_default();
        let online = list("online");
        let each = |what: &'static str| {
            let of = move |n: &usize| Some((*n, cpu(&format!("cpu{n}/{what}"))?));
            online.clone().into_iter().filter_map(move |n| of(&n)).collect::<Vec<_>>()
        };
        let siblings = each("topology/thread_siblings_list");
        Self {
            isolated: list("isolated"),
            tickless: list("nohz_full"),
            governors: each("cpufreq/scaling_governor"),
            smt: cpu("smt/control").unwrap_or_else(|| "unknown".to_owned()),
            siblings: siblings.into_iter().map(|(n, text)| (n, numbers(&text))).collect(),
            online,
        }
    }

    /// Whether two cores are the same, or two threads of one.
    pub fn are_siblings(&self, one: usize, other: usize) -> bool {
        let shared = |(_, with): &(usize, Vec<usize>)| with.contains(&one) && with.contains(&other);
        one == other || self.siblings.iter().any(shared)
    }

    /// The governors, without duplicates.
    pub fn governor(&self) -> String {
        let mut names: Vec<&str> = self.governors.iter().map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { "none: not for this kernel to decide".to_owned() } else { names.join(", ") }
    }
}

/// Parses a kernel list of numbers: "0-2,5".
pub fn numbers(text: &str) -> Vec<usize> {
    text.trim().split(',').flat_map(range).collect()
}

/// Formats numbers for [`numbers`], without ranges.
pub fn shown(numbers: &[usize]) -> String {
    let words: Vec<String> = numbers.iter().map(usize::to_string).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(",") }
}

fn range(text: &str) -> std::ops::Range<usize> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) => from..to + 1,
        _ => 0..0,
    }
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

#[cfg(test)]
mod cores_tests {
    use super::super::tests::Tree;
    use super::*;

    #[test]
    fn lists_of_numbers_are_read() {
        assert_eq!(numbers("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(numbers("7"), [7]);
        assert_eq!(numbers(""), [0; 0]);
        assert_eq!(numbers("(null)"), [0; 0], "as nohz_full has it");
        assert_eq!((shown(&[1, 2]), shown(&[])), ("1,2".to_owned(), "none".to_owned()));
    }

    #[test]
    fn cores_are_read_with_who_shares_them() {
        let cpu = "sys/devices/system/cpu";
        let path = |name: &str| format!("{cpu}/{name}");
        let files = [
            (path("online"), "0-3\n"),
            (path("isolated"), "2-3\n"),
            (path("nohz_full"), "3\n"),
            (path("smt/control"), "on\n"),
            (path("cpu0/cpufreq/scaling_governor"), "powersave\n"),
            (path("cpu1/cpufreq/scaling_governor"), "performance\n"),
            (path("cpu0/topology/thread_siblings_list"), "0,2\n"),
            (path("cpu1/topology/thread_siblings_list"), "1,3\n"),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let tree = Tree::new(&files);
        let cores = Cores::read(tree.path());
        assert_eq!((&cores.online[..], &cores.isolated[..]), (&[0, 1, 2, 3][..], &[2, 3][..]));
        assert_eq!((&cores.tickless[..], cores.smt.as_str()), (&[3][..], "on"));
        assert_eq!(cores.governor(), "performance, powersave");
        assert!(cores.are_siblings(0, 2) && cores.are_siblings(1, 3) && cores.are_siblings(1, 1));
        assert!(!cores.are_siblings(0, 1) && !cores.are_siblings(3, 0));
    }

    #[test]
    fn a_machine_that_tells_nothing_has_no_governor() {
        let tree = Tree::new(&[]);
        let cores = Cores::read(tree.path());
        assert!(cores.governor().starts_with("none"));
        assert!(!cores.are_siblings(0, 1));
    }
}
