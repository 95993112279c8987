//! CPU cores: which exist, and who else may use them.

use std::path::Path;

use super::text;

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
