//! Checks of settings in a made-up tree.
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::tree::Tree;
use super::{Line, Wanted, nic, tuning};
use crate::golden;
use crate::link::{Facts, Nic};

struct Made(PathBuf);

impl Made {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("xblade-check-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let made = Self(root);
        for (path, text) in files {
            let path = made.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        made
    }

    fn tree(&self) -> Tree {
        Tree::below(&self.0)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn wanted(cores: &[usize]) -> Wanted {
    Wanted { cores: cores.to_vec(), spins: false, polls: false, requests: 512, huge_bytes: 0 }
}

/// The interface with index 7.
fn facts() -> Facts {
    Facts { name: "eth1".into(), index: 7, ..Facts::read("lo").unwrap() }
}

/// The kind and text of the one line that contains `part`.
fn line(lines: &[Line], part: &str) -> Option<(char, String)> {
    let text = |line: &Line| line.to_string();
    let mut found = lines.iter().map(text).filter(|line| line.contains(part));
    let first = found.next()?;
    assert!(found.next().is_none(), "two lines with {part}: {lines:?}");
    Some((first.chars().next().unwrap(), first))
}

#[track_caller]
fn assert_line(lines: &[Line], part: &str, kind: char, remedy: &str) {
    let (is, text) = line(lines, part).unwrap_or_else(|| panic!("no line with {part}: {lines:?}"));
    assert!(is == kind && text.contains(remedy), "{text}");
}

const CPU: &str = "sys/devices/system/cpu";

#[test]
fn what_cannot_be_read_has_no_line() {
    let made = Made::new(&[]);
    let lines = tuning::lines(&made.tree(), &wanted(&[]));
    assert_eq!(lines.len(), 2, "huge pages and cores: {lines:?}");
    assert_eq!(nic::lines(&made.tree(), &wanted(&[1]), &facts(), &Nic::default()), []);
}

#[test]
fn each_setting_of_the_machine_is_told_by_its_value() {
    let rows = [
        (
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "powersave\n",
            "performance\n",
            "governor",
            "tune.sh",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never",
            "always [madvise] never",
            "transparent",
            "echo madvise",
        ),
        ("proc/sys/kernel/numa_balancing", "1\n", "0\n", "NUMA balancing", "kernel.numa_balancing=0"),
    ];
    for (path, bad, good, part, remedy) in rows {
        for (text, kind, remedy) in [(bad, 'H', remedy), (good, 'O', "")] {
            let made = Made::new(&[(path, text)]);
            assert_line(&tuning::lines(&made.tree(), &wanted(&[])), part, kind, remedy);
        }
    }
    let made = Made::new(&[("proc/sys/net/core/bpf_jit_enable", "0")]);
    assert_line(&tuning::lines(&made.tree(), &wanted(&[])), "interpreted", 'H', "bpf_jit_enable=1");
}

#[test]
fn one_slow_core_is_enough() {
    let governors: Vec<(String, &str)> = (0..3)
        .map(|core| {
            (
                format!("{CPU}/cpu{core}/cpufreq/scaling_governor"),
                if core == 1 { "powersave" } else { "performance" },
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = governors.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let made = Made::new(&files);
    assert_line(&tuning::lines(&made.tree(), &wanted(&[])), "governor", 'H', "powersave");
}

#[test]
fn workers_cores_are_held_against_those_that_are_isolated() {
    let (online, isolated) = (format!("{CPU}/online"), format!("{CPU}/isolated"));
    for (cores, list, kind, part) in [
        (&[2, 3][..], "2-3\n", 'O', "cores 2,3 are isolated"),
        (&[1, 2], "2-3\n", 'H', "cores 1 are not isolated"),
        (&[1, 2], "\n", 'H', "isolcpus=1,2"),
        (&[0, 1, 2, 3], "\n", 'H', "leave one to the system"),
        (&[], "2-3\n", 'O', "isolated: 2,3"),
        (&[], "\n", 'H', "none isolated"),
    ] {
        let made = Made::new(&[(&online, "0-3\n"), (&isolated, list)]);
        assert_line(&tuning::lines(&made.tree(), &wanted(cores)), part, kind, "");
    }
}

#[test]
fn huge_pages_that_are_configured_have_to_be_there() {
    let wanted = Wanted { huge_bytes: (64 << 20) + 1, ..wanted(&[]) };
    let meminfo = ("proc/meminfo", "MemTotal: 1 kB\nHugepagesize:       2048 kB\n");
    for (pages, kind) in [("32", 'F'), ("33", 'O')] {
        let made = Made::new(&[meminfo, ("proc/sys/vm/nr_hugepages", pages)]);
        assert_line(&tuning::lines(&made.tree(), &wanted), "huge pages reserved", kind, "33");
    }
}

#[test]
fn what_the_driver_tells_is_held_against_what_hosts_send() {
    let made = Made::new(&[]);
    let lines = |nic| nic::lines(&made.tree(), &wanted(&[]), &facts(), &nic);
    for (ring, kind, remedy) in [
        ((512, 4096), 'O', "holds the 512"),
        ((256, 4096), 'H', "ethtool -G eth1 rx 512"),
        ((128, 256), 'H', "ethtool -G eth1 rx 256"),
        ((256, 256), 'H', "lower --buffer-count"),
    ] {
        let nic = Nic { rx_ring: Some(ring), ..Nic::default() };
        assert_line(&lines(nic), "receive ring", kind, remedy);
    }
    for (coalesce, kind, remedy) in [
        ((8, 0, false), 'O', "up to 8 µs"),
        ((8, 0, true), 'H', "adaptive-rx off"),
        ((250, 0, false), 'H', "rx-usecs 8"),
    ] {
        let nic = Nic { rx_coalesce: Some(coalesce), ..Nic::default() };
        assert_line(&lines(nic), "interrupt", kind, remedy);
    }
    for (pause, kind) in
        [((true, true), 'O'), ((true, false), 'H'), ((false, true), 'H'), ((false, false), 'H')]
    {
        let nic = Nic { pause: Some(pause), ..Nic::default() };
        assert_line(
            &lines(nic),
            "pause frames",
            kind,
            if kind == 'H' { "ethtool -A eth1 rx on tx on" } else { "" },
        );
    }
}

/// Two queues with interrupts 30 and 31, and one for the mailbox.
fn interface(files: &[(&str, &str)]) -> Made {
    let labels = "   CPU0\n 29: 1 PCI-MSI 1 eth1-mbx\n 30: 5 PCI-MSI 2 eth1-TxRx-0\n131: 0 x eth9-TxRx-1\n 31: 5 PCI-MSI 3 eth1-TxRx-1\n";
    let net = "sys/class/net/eth1";
    let base = [
        (format!("{net}/ifindex"), "7\n"),
        (format!("{net}/device/msi_irqs/29"), "x"),
        (format!("{net}/device/msi_irqs/30"), "x"),
        (format!("{net}/device/msi_irqs/31"), "x"),
        ("proc/interrupts".to_owned(), labels),
    ];
    let mut all: Vec<(&str, &str)> = base.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    all.extend(files);
    Made::new(&all)
}

#[test]
fn interrupts_belong_with_their_worker_or_away_from_one_that_never_sleeps() {
    for (zero, one, spins, polls, kind) in [
        ("2", "3", false, false, 'O'),
        ("3", "2", false, false, 'H'),
        ("0-3", "3", false, false, 'H'),
        ("0-1", "0", true, false, 'O'),
        ("0-1", "3", true, false, 'H'),
        ("2", "3", true, false, 'H'),
        ("2", "3", true, true, 'O'),
    ] {
        let made =
            interface(&[("proc/irq/30/smp_affinity_list", zero), ("proc/irq/31/smp_affinity_list", one)]);
        let wanted = Wanted { spins, polls, ..wanted(&[2, 3]) };
        let lines = nic::lines(&made.tree(), &wanted, &facts(), &Nic::default());
        let remedy = match (kind, spins) {
            ('O', _) => "2 interrupts",
            (_, false) => "--cores 2,3",
            (_, true) => "--cores 2,3 --spin",
        };
        assert_line(&lines, "interrupts", kind, remedy);
    }
    // No cores were configured for the workers.
    let made = interface(&[("proc/irq/30/smp_affinity_list", "0")]);
    assert_eq!(nic::lines(&made.tree(), &wanted(&[]), &facts(), &Nic::default()), []);
}

#[test]
fn rps_polling_and_numa_are_told_for_this_interface_only() {
    let rps = "sys/class/net/eth1/queues/rx-1/rps_cpus";
    let zero = ("sys/class/net/eth1/queues/rx-0/rps_cpus", "0000,00000000");
    let defer = "sys/class/net/eth1/napi_defer_hard_irqs";
    let node =
        [("sys/class/net/eth1/device/numa_node", "1"), ("sys/devices/system/node/node1/cpulist", "2-3")];
    let lines = |files: &[(&str, &str)], wanted: &Wanted| {
        nic::lines(&interface(files).tree(), wanted, &facts(), &Nic::default())
    };
    assert_line(&lines(&[zero, (rps, "0")], &wanted(&[])), "RPS", 'O', "");
    assert_line(&lines(&[zero, (rps, "f")], &wanted(&[])), "RPS", 'H', "rps_cpus");
    let polls = Wanted { polls: true, ..wanted(&[]) };
    assert_line(&lines(&[(defer, "0")], &polls), "put off", 'H', "echo 2");
    assert_line(&lines(&[(defer, "2")], &polls), "put off", 'O', "");
    assert_line(&lines(&[(defer, "2")], &wanted(&[])), "put off", 'H', "echo 0");
    assert_eq!(lines(&[(defer, "0")], &wanted(&[])), []);
    assert_line(&lines(&node, &wanted(&[2, 3])), "NUMA node", 'O', "");
    assert_line(
        &lines(&node, &wanted(&[1, 2])),
        "NUMA node",
        'H',
        "cores 1 are not: choose --cores from 2,3",
    );
    // The /sys of another namespace.
    let other = [("sys/class/net/eth1/ifindex", "8"), (rps, "f"), (defer, "2")];
    assert_eq!(lines(&other, &wanted(&[])), []);
}

/// Every setting, as it should be and otherwise.
#[test]
fn golden_lines() {
    let settings = [
        ("devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance", "powersave"),
        ("devices/system/cpu/online", "0-3", "0-3"),
        ("devices/system/cpu/isolated", "2-3", ""),
        ("kernel/mm/transparent_hugepage/enabled", "always [madvise] never", "[always] madvise never"),
        ("class/net/eth1/queues/rx-0/rps_cpus", "0", "f"),
        ("class/net/eth1/napi_defer_hard_irqs", "0", "2"),
        ("class/net/eth1/device/numa_node", "1", "1"),
        ("devices/system/node/node1/cpulist", "2-3", "0-1"),
    ]
    .map(|(path, good, bad)| (format!("sys/{path}"), good, bad));
    let rest = [
        ("proc/sys/kernel/numa_balancing", "0", "1"),
        ("proc/sys/net/core/bpf_jit_enable", "1", "0"),
        ("proc/sys/vm/nr_hugepages", "33", "32"),
        ("proc/meminfo", "Hugepagesize:       2048 kB\n", "Hugepagesize:       2048 kB\n"),
        ("proc/irq/30/smp_affinity_list", "2", "0"),
        ("proc/irq/31/smp_affinity_list", "3", "0"),
    ];
    let mut transcript = golden::Transcript::default();
    for is_good in [true, false] {
        let pick = |good, bad| if is_good { good } else { bad };
        let settings = settings.iter().map(|(path, good, bad)| (path.as_str(), *good, *bad)).chain(rest);
        let files: Vec<_> = settings.map(|(path, good, bad)| (path, pick(good, bad))).collect();
        let made = interface(&files);
        for (spins, polls) in [(false, false), (true, false), (false, true)] {
            let wanted = Wanted { spins, polls, huge_bytes: (64 << 20) + 1, ..wanted(&[2, 3]) };
            let nic = Nic {
                rx_ring: Some(if is_good { (512, 4096) } else { (256, 4096) }),
                rx_coalesce: Some(if is_good { (8, 0, false) } else { (250, 0, false) }),
                pause: Some((is_good, is_good)),
            };
            let mut lines = tuning::lines(&made.tree(), &wanted);
            lines.extend(nic::lines(&made.tree(), &wanted, &facts(), &nic));
            let text: Vec<String> = lines.iter().map(Line::to_string).collect();
            let title = format!("{}, spins: {spins}, polls: {polls}", if is_good { "good" } else { "bad" });
            transcript.add(&title, &text.join("\n"));
        }
    }
    golden::check("check.txt", &transcript.text);
}
