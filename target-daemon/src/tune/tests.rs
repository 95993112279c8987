//! The table on a made-up machine: a tree of files in place of /proc and /sys, and a NIC that
//! keeps its settings in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::config::CoreList;
use crate::link::NicSetting as Of;

/// A NIC. It rounds rings up to a multiple of 64, and resets the delay of interrupts when
/// adaptation changes.
struct Fake {
    values: Vec<(Of, u32)>,
    /// The settings that it refuses to change.
    refuses: Vec<Of>,
}

impl Nic for Rc<RefCell<Fake>> {
    fn read(&self, setting: Of) -> Option<u32> {
        self.borrow().values.iter().find(|(of, _)| *of == setting).map(|(_, value)| *value)
    }

    fn write(&self, setting: Of, value: u32) -> io::Result<()> {
        let mut nic = self.borrow_mut();
        if nic.refuses.contains(&setting) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let is_ring = [Of::RX_RING, Of::TX_RING].contains(&setting);
        let value = if is_ring { value.next_multiple_of(64) } else { value };
        let mut set = |setting: Of, value: u32| {
            nic.values.iter_mut().filter(|(of, _)| *of == setting).for_each(|(_, now)| *now = value);
        };
        set(setting, value);
        if setting == Of::ADAPTIVE_RX {
            set(Of::RX_USECS, 50);
        }
        Ok(())
    }
}

const NIC: [(Of, u32); 11] = [
    (Of::RX_RING, 512),
    (Of::RX_RING_MAX, 2050),
    (Of::TX_RING, 8192),
    (Of::TX_RING_MAX, 8192),
    (Of::ADAPTIVE_RX, 1),
    (Of::RX_USECS, 50),
    (Of::PAUSE_RX, 0),
    (Of::PAUSE_TX, 1),
    (Of::RX_VLAN, 1),
    (Of::RX_SERVICE_VLAN, 0),
    (Of::RX_VLAN_FILTER, 1),
];

/// Cores 0 to 3, two queues, and every setting wrong.
const TREE: [(&str, &str); 28] = [
    ("sys/devices/system/cpu/online", "0-3"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave"),
    ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always"),
    ("proc/sys/kernel/numa_balancing", "1"),
    ("proc/sys/kernel/watchdog_cpumask", "0-3"),
    ("proc/sys/vm/stat_interval", "1"),
    ("proc/sys/vm/compaction_proactiveness", "20"),
    ("proc/sys/vm/min_free_kbytes", "90000"),
    ("proc/sys/vm/nr_hugepages", "3"),
    ("proc/sys/net/core/bpf_jit_enable", "1"),
    ("proc/sys/net/core/netdev_max_backlog", "1000"),
    ("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/vda1 nohz_full=2-3"),
    (
        "proc/interrupts",
        "  30: 1 x eth1-TxRx-0\n 131: 0 x eth9-TxRx-1\n  31: 1 x eth1-TxRx-1\n  32: 0 x eth1-mbx\n",
    ),
    ("proc/irq/30/smp_affinity_list", "0-3"),
    ("proc/irq/31/smp_affinity_list", "0-1,3"),
    ("proc/irq/32/smp_affinity_list", "0-3"),
    ("sys/class/net/eth1/ifindex", "7"),
    ("sys/class/net/eth1/mtu", "1500"),
    ("sys/class/net/eth1/queues/rx-0/rps_cpus", "f,00000000"),
    ("sys/class/net/eth1/queues/rx-1/rps_cpus", "00000000,00000000"),
    ("sys/class/net/eth1/queues/tx-0/xps_cpus", "1"),
    ("sys/class/net/eth1/device/msi_irqs/30", "msix"),
    ("sys/class/net/eth1/device/msi_irqs/31", "msix"),
    ("sys/class/net/eth1/device/msi_irqs/32", "msix"),
    ("sys/class/net/eth1/napi_defer_hard_irqs", "0"),
    ("sys/class/net/eth1/gro_flush_timeout", "0"),
];

/// A made-up machine with the interface eth1, which has the index 7.
pub(crate) struct Bench {
    root: PathBuf,
    nic: Rc<RefCell<Fake>>,
}

impl Bench {
    pub(crate) fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("xblade-tune-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self { root, nic: Rc::new(RefCell::new(Fake { values: Vec::new(), refuses: Vec::new() })) }
    }

    pub(crate) fn new() -> Self {
        let bench = Self::empty();
        TREE.iter().for_each(|(path, text)| bench.put(path, text));
        bench.nic.borrow_mut().values = NIC.to_vec();
        bench
    }

    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    fn value(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap().trim().to_owned()
    }

    fn nic(&self, setting: Of) -> u32 {
        self.nic.read(setting).unwrap()
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine::made(&self.root, "eth1", 7, Box::new(self.nic.clone()))
    }

    fn folder(&self) -> PathBuf {
        self.root.join("journals")
    }

    fn state(&self) -> PathBuf {
        self.folder().join("tune-eth1.json")
    }

    fn journal(&self) -> Journal {
        Journal::within(&self.folder(), "tune", "eth1")
    }

    fn plan(&self, demands: &Demands) -> Vec<Line> {
        let machine = self.machine();
        [Scope::Machine, Scope::Interface].map(|scope| plan(demands, &machine, scope)).concat()
    }

    pub(crate) fn apply(&self, demands: &Demands) -> Vec<Line> {
        let machine = self.machine();
        [Scope::Machine, Scope::Interface]
            .map(|scope| apply(demands, &machine, scope, &self.journal()).unwrap())
            .concat()
    }

    pub(crate) fn revert(&self) -> Vec<Line> {
        revert(&self.machine(), &self.journal()).unwrap()
    }

    /// Everything that it could change.
    fn all(&self) -> (BTreeMap<PathBuf, String>, Vec<(Of, u32)>) {
        fn walk(dir: &Path, into: &mut BTreeMap<PathBuf, String>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, into);
                } else {
                    into.insert(path.clone(), fs::read_to_string(&path).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        walk(&self.root, &mut files);
        (files, self.nic.borrow().values.clone())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

pub(crate) fn cores(list: &str) -> CoreList {
    list.parse().unwrap()
}

/// Every option.
fn demands() -> Demands {
    Demands {
        cores: cores("2-3"),
        mtu: Some(9000),
        huge_pages: Some(64),
        busy_poll: true,
        ..Demands::default()
    }
}

fn has(lines: &[Line], part: &str) -> bool {
    text(lines).contains(part)
}

#[test]
fn a_plan_changes_nothing_and_names_what_should_be() {
    let bench = Bench::new();
    bench.put("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never");
    let before = bench.all();
    let lines = bench.plan(&demands());
    assert_eq!(bench.all(), before);
    for part in [
        "WANT  governor                 performance,powersave,schedutil, wanted performance: a core",
        "WANT  transparent-hugepages    always, wanted madvise",
        "OK    vm.min_free_kbytes       90000",
        "WANT  eth1: ring-rx            512, wanted 2050",
        "OK    eth1: ring-tx            8192",
        "WANT  eth1: pause-rx           off, wanted on",
        "WANT  eth1: mtu                1500, wanted 9000",
        "WANT  eth1: irq-31 (queue 1)   0-1,3, wanted 3",
        "BOOT  kernel-command-line      lacks isolcpus=managed_irq,domain,2-3 rcu_nocbs=2-3 irqaffinity=0-1: on",
        "/etc/default/grub.d/xblade.cfg",
    ] {
        assert!(has(&lines, part), "{part}: {}", text(&lines));
    }
    assert!(!has(&lines, "irq-32"));
}

#[test]
fn what_was_applied_once_or_twice_goes_back_exactly() {
    let bench = Bench::new();
    let before = bench.all();
    bench.apply(&demands());
    let net = "sys/class/net/eth1";
    for (path, value) in [
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor".to_owned(), "performance"),
        ("sys/kernel/mm/transparent_hugepage/enabled".to_owned(), "madvise"),
        ("proc/sys/kernel/watchdog_cpumask".to_owned(), "0-1"),
        ("proc/sys/vm/nr_hugepages".to_owned(), "64"),
        ("proc/irq/30/smp_affinity_list".to_owned(), "2"),
        ("proc/irq/31/smp_affinity_list".to_owned(), "3"),
        ("proc/irq/32/smp_affinity_list".to_owned(), "0-3"),
        (format!("{net}/mtu"), "9000"),
        (format!("{net}/queues/rx-0/rps_cpus"), "0"),
        (format!("{net}/queues/rx-1/rps_cpus"), "00000000,00000000"),
        (format!("{net}/queues/tx-0/xps_cpus"), "0"),
        (format!("{net}/napi_defer_hard_irqs"), "2"),
        (format!("{net}/gro_flush_timeout"), "200000"),
    ] {
        assert_eq!(bench.value(&path), value, "{path}");
    }
    // 2050 as this NIC rounds it.
    assert_eq!((bench.nic(Of::RX_RING), bench.nic(Of::ADAPTIVE_RX), bench.nic(Of::RX_USECS)), (2112, 0, 8));
    assert_eq!((bench.nic(Of::PAUSE_RX), bench.nic(Of::RX_VLAN)), (1, 0));
    let once = bench.all();
    let lines = bench.apply(&demands());
    assert!(!has(&lines, "SET "), "{}", text(&lines));
    assert_eq!(bench.all(), once);
    // With other options, the oldest values are still known.
    let other = Demands { cores: cores("2"), spin: true, mtu: Some(4000), coalesce: 4, ..Demands::default() };
    bench.apply(&other);
    assert_eq!(bench.value("proc/irq/30/smp_affinity_list"), "0-1,3");
    assert_eq!(bench.value("sys/class/net/eth1/napi_defer_hard_irqs"), "0");
    bench.revert();
    // The mask is written without its leading zeros.
    assert_eq!(bench.all(), before);
    assert!(has(&bench.revert(), "nothing to take back"));
    assert_eq!(bench.all(), before);
}

/// Each setting is compared after the changes before it.
#[test]
fn what_a_change_resets_is_set_after_it() {
    let bench = Bench::new();
    bench.nic.write(Of::RX_USECS, 5).unwrap();
    bench.apply(&Demands::default());
    assert_eq!((bench.nic(Of::ADAPTIVE_RX), bench.nic(Of::RX_USECS)), (0, 8));
}

#[test]
fn what_was_changed_since_stays() {
    let bench = Bench::new();
    bench.apply(&Demands::default());
    bench.put("proc/sys/vm/stat_interval", "60");
    fs::remove_dir_all(bench.root.join("sys/devices/system/cpu/cpu1")).unwrap();
    let lines = bench.revert();
    assert!(
        has(&lines, "60, not 10 as set here: changed since by another program, left alone"),
        "{}",
        text(&lines)
    );
    assert!(
        has(&lines, "cpu1/cpufreq/scaling_governor is not a setting of this machine"),
        "{}",
        text(&lines)
    );
    assert_eq!(bench.value("proc/sys/vm/stat_interval"), "60");
    assert_eq!(bench.value("proc/sys/kernel/numa_balancing"), "1");
    assert!(!bench.state().exists());
}

#[test]
fn what_is_refused_or_missing_is_one_line_and_nothing_to_take_back() {
    let bench = Bench::new();
    bench.nic.borrow_mut().refuses = vec![Of::RX_RING, Of::PAUSE_RX];
    fs::remove_file(bench.root.join("proc/sys/kernel/numa_balancing")).unwrap();
    let before = bench.all();
    let told = text(&bench.apply(&Demands::default()));
    for part in ["FAIL  eth1: ring-rx", "FAIL  eth1: pause-rx", "SKIP  numa_balancing", "SET   eth1: rxvlan"]
    {
        assert_eq!(told.matches(part).count(), 1, "{part}: {told}");
    }
    let state = fs::read_to_string(bench.state()).unwrap();
    assert!(!state.contains("ring-rx") && !state.contains("numa"), "{state}");
    bench.revert();
    assert_eq!(bench.all(), before);
}

/// A value that could not be restored stays in the journal, so that it can be later.
#[test]
fn a_revert_that_is_refused_can_be_done_again() {
    let bench = Bench::new();
    let before = bench.all();
    bench.apply(&Demands::default());
    bench.nic.borrow_mut().refuses = vec![Of::PAUSE_RX];
    assert!(has(&bench.revert(), "FAIL  pause-rx                 on, was off"));
    bench.nic.borrow_mut().refuses.clear();
    assert!(has(&bench.revert(), "BACK  pause-rx                 off"));
    assert_eq!(bench.all(), before);
}

/// The journal is written before a change: a run that ends in between, or right after it, can
/// be reverted.
#[test]
fn an_interrupted_run_can_be_taken_back() {
    let bench = Bench::new();
    let before = bench.all();
    for is_set in [false, true] {
        let (at, old) = ("/proc/sys/vm/stat_interval".to_owned(), "1".to_owned());
        let lock = bench.journal().lock();
        bench.journal().store(&vec![Change { at, old, new: "10".to_owned() }]).unwrap();
        drop(lock);
        if is_set {
            bench.put("proc/sys/vm/stat_interval", "10");
        }
        bench.revert();
        assert_eq!(bench.all(), before);
    }
}

/// Another user may not decide what root writes.
#[test]
fn a_planted_journal_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let bench = Bench::new();
    bench.put("etc/victim", "new");
    let error = || revert(&bench.machine(), &bench.journal()).unwrap_err().to_string();
    for at in
        ["/etc/victim", "/sys/../etc/victim", "/proc/irq/../../etc/victim", "/sys/class/net/eth2/mtu", "mtu"]
    {
        drop(bench.journal().lock().unwrap());
        let change = Change { at: at.to_owned(), old: "old".to_owned(), new: "new".to_owned() };
        bench.journal().store(&vec![change]).unwrap();
        assert!(has(&bench.revert(), "is not a setting of this machine"), "{at}");
        assert_eq!(bench.value("etc/victim"), "new");
    }
    drop(bench.journal().lock().unwrap());
    fs::write(bench.state(), r#"[{"at": "mtu", "old": "1", "new": "2"}]"#).unwrap();
    fs::set_permissions(bench.folder(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(error().contains("with mode 777") && error().contains("remove it"), "{}", error());
    // A link in place of the folder.
    let elsewhere = bench.root.join("elsewhere");
    fs::set_permissions(bench.folder(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(bench.folder(), &elsewhere).unwrap();
    symlink(&elsewhere, bench.folder()).unwrap();
    assert!(error().contains("nothing is changed without a record"), "{}", error());
    let before = bench.all();
    let applied = apply(&Demands::default(), &bench.machine(), Scope::Machine, &bench.journal());
    assert!(applied.is_err());
    assert_eq!(bench.all(), before);
    for text in ["", "{}", r#"[{"at": "mtu"}]"#] {
        fs::write(elsewhere.join("tune-eth1.json"), text).unwrap();
        assert!(error().contains("is not a record of `xblade tune`"), "{}", error());
    }
}

#[test]
fn what_this_machine_does_not_have_is_skipped() {
    let bench = Bench::empty();
    let lines = bench.plan(&Demands { cores: CoreList(vec![0]), ..demands() });
    let wrong: Vec<&Line> = lines.iter().filter(|line| line.mark == Mark::Want).collect();
    assert_eq!(wrong, Vec::<&Line>::new());
    for part in ["SKIP  governor", "SKIP  eth1: ring-rx", "SKIP  eth1: mtu"] {
        assert!(has(&lines, part), "{part}: {}", text(&lines));
    }
}

/// The files below /sys/class/net may be those of another network namespace.
#[test]
fn an_interface_that_sys_does_not_show_keeps_its_files() {
    let bench = Bench::new();
    bench.put("sys/class/net/eth1/ifindex", "8");
    bench.put("sys/class/net/eth1/device/numa_node", "0");
    bench.put("sys/devices/system/node/node0/cpulist", "0-3");
    let lines = bench.apply(&demands());
    assert!(
        has(&lines, "SKIP  eth1: mtu, queues, interrupts /sys shows the interfaces of another"),
        "{}",
        text(&lines)
    );
    assert!(!has(&lines, "irq-") && !has(&lines, "NUMA"), "{}", text(&lines));
    assert_eq!(bench.value("sys/class/net/eth1/mtu"), "1500");
    assert_eq!(bench.value("sys/class/net/eth1/queues/tx-0/xps_cpus"), "1");
    assert_eq!(bench.nic(Of::RX_VLAN), 0, "the NIC is that of this namespace");
}

#[test]
fn interrupts_belong_with_their_worker_or_away_from_one_that_never_sleeps() {
    for (zero, one, spins, polls, is_met) in [
        ("2", "3", false, false, true),
        ("3", "2", false, false, false),
        ("0-3", "3", false, false, false),
        ("0-1", "0", true, false, true),
        ("0-1", "3", true, false, false),
        ("2", "3", true, false, false),
        ("2", "3", true, true, true),
    ] {
        let bench = Bench::new();
        bench.put("proc/irq/30/smp_affinity_list", zero);
        bench.put("proc/irq/31/smp_affinity_list", one);
        let lines = bench.plan(&Demands { spin: spins, busy_poll: polls, ..demands() });
        let irqs: Vec<&Line> = lines.iter().filter(|line| line.name.contains("irq-")).collect();
        assert_eq!(irqs.len(), 2);
        assert_eq!(
            irqs.iter().all(|line| line.mark == Mark::Ok),
            is_met,
            "{zero} {one} {spins} {polls}: {irqs:?}"
        );
    }
    // No cores were given, or every core has a worker that never sleeps.
    for (list, spins) in [("", false), ("0-3", true)] {
        let lines = Bench::new().plan(&Demands { cores: cores(list), spin: spins, ..Demands::default() });
        assert!(!has(&lines, "irq-"), "{}", text(&lines));
    }
    let bench = Bench::new();
    fs::create_dir_all(bench.root.join("run/irqbalance")).unwrap();
    assert!(has(&bench.plan(&demands()), "systemctl disable --now irqbalance"));
}

#[test]
fn the_kernel_command_line_isolates_the_workers() {
    for (words, list, mark, part) in [
        (
            "isolcpus=managed_irq,domain,2-3 nohz_full=2-3 rcu_nocbs=2-3 irqaffinity=0-1",
            "2-3",
            Mark::Ok,
            "isolates 2-3",
        ),
        ("isolcpus=1-3 nohz_full=1-3 rcu_nocbs=1-3 irqaffinity=0", "2,3", Mark::Ok, "isolates 2-3"),
        (
            "isolcpus=2-3 nohz_full=2-3 rcu_nocbs=2-3 irqaffinity=0-2",
            "2-3",
            Mark::Boot,
            "lacks irqaffinity=0-1: ",
        ),
        ("isolcpus=2-3", "1-2", Mark::Boot, "lacks isolcpus=managed_irq,domain,1-2 nohz_full=1-2 "),
        ("", "0-3", Mark::Hint, "leave one to the system"),
        ("isolcpus=domain,2-3", "", Mark::Hint, "isolates 2-3: give these cores"),
        ("quiet", "", Mark::Skip, "--cores"),
    ] {
        let bench = Bench::new();
        bench.put("proc/cmdline", words);
        let lines =
            plan(&Demands { cores: cores(list), ..Demands::default() }, &bench.machine(), Scope::Machine);
        let line = lines.iter().find(|line| line.name == "kernel-command-line").unwrap();
        assert!(line.mark == mark && line.text.contains(part), "{words}: {line}");
    }
}

#[test]
fn workers_belong_on_the_node_of_the_nic() {
    let bench = Bench::new();
    bench.put("sys/class/net/eth1/device/numa_node", "1");
    bench.put("sys/devices/system/node/node1/cpulist", "2-3");
    assert!(has(
        &bench.plan(&demands()),
        "OK    eth1: NUMA node          1, which the workers' cores are on"
    ));
    let lines = bench.plan(&Demands { cores: cores("1-2"), ..demands() });
    assert!(has(&lines, "1, workers' cores 1 are not on it: choose --cores from 2-3"), "{}", text(&lines));
}

#[test]
fn core_lists_are_those_of_the_kernel() {
    for (given, listed) in [("2,3", "2-3"), ("0-2,5", "0-2,5"), ("1,3", "1,3"), ("3,2", "3,2"), ("", "")] {
        assert_eq!(cores(given).to_string(), listed);
    }
    for wrong in ["two", "3-2", "1,,2", "-1", "0-9999999", "1 2"] {
        assert!(wrong.parse::<CoreList>().is_err(), "{wrong}");
    }
}
