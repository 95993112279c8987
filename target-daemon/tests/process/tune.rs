//! `deploy/tune.sh`, with a tree of files in place of /proc and /sys, a real veth pair, and
//! a fake `ethtool`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::XBLADE;
use crate::image::Dir;
use xblade_kit::{OURS, Pair, apply, needs_root};

/// A NIC that keeps each setting in a file next to the script. It rounds rings up to a
/// multiple of 64, and refuses the settings listed in the file `refuses`.
const ETHTOOL: &str = r#"#!/bin/sh
here=$(dirname "$0")/nic
value() { cat "$here/$1"; }
put() { ! grep -qx "$1" "$here/refuses" || exit 1; echo "$2" >"$here/$1"; }
case $1 in
-g) printf 'Ring parameters for x:\nPre-set maximums:\nRX:\t\t2050\nRX Mini:\tn/a\nTX:\t\t8192\n'
    printf 'Current hardware settings:\nRX:\t\t%s\nRX Mini:\tn/a\nTX:\t\t%s\n' "$(value rx)" "$(value tx)" ;;
-c) printf 'Adaptive RX: %s  TX: n/a\nstats-block-usecs:\tn/a\n\nrx-usecs:\t%s\nrx-usecs-irq:\tn/a\n' "$(value adaptive-rx)" "$(value rx-usecs)" ;;
-a) printf 'Pause parameters for x:\nAutonegotiate:\ton\nRX:\t\t%s\nTX:\t\t%s\n' "$(value pause-rx)" "$(value pause-tx)" ;;
-k) printf 'rx-checksumming: on\nrx-vlan-offload: %s\ntx-vlan-offload: on [fixed]\n' "$(value rxvlan)" ;;
-G) put "$3" $(( ($4 + 63) / 64 * 64 )) ;;
-C) put "$3" "$4" ;;
-A) put "pause-$3" "$4" ;;
-K) put "$3" "$4" ;;
*) exit 2 ;;
esac
"#;

const NIC: [(&str, &str); 8] = [
    ("rx", "512"),
    ("tx", "8192"),
    ("adaptive-rx", "on"),
    ("rx-usecs", "50"),
    ("pause-rx", "off"),
    ("pause-tx", "on"),
    ("rxvlan", "on"),
    ("refuses", ""),
];

/// Cores 0 to 3, two queues, and every setting wrong.
const TREE: [(&str, &str); 25] = [
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
    ("proc/interrupts", "  30: 1 x NIC-TxRx-0\n  31: 1 x NIC-TxRx-1\n  32: 0 x NIC-mbx\n"),
    ("proc/irq/30/smp_affinity_list", "0-3"),
    ("proc/irq/31/smp_affinity_list", "0-1,3"),
    ("proc/irq/32/smp_affinity_list", "0-3"),
    ("net/queues/rx-0/rps_cpus", "f,00000000"),
    ("net/queues/rx-1/rps_cpus", "00000000,00000000"),
    ("net/queues/tx-0/xps_cpus", "1"),
    ("net/device/msi_irqs/30", "msix"),
    ("net/device/msi_irqs/31", "msix"),
    ("net/device/msi_irqs/32", "msix"),
    ("net/napi_defer_hard_irqs", "0"),
];

struct Bench {
    pair: Pair,
    dir: Dir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { pair: Pair::new(), dir: Dir::new() };
        let index = bench.pair.ours.facts(OURS).index.to_string();
        for (path, text) in
            TREE.into_iter().chain([("net/ifindex", index.as_str()), ("net/gro_flush_timeout", "0")])
        {
            let below_net = path.strip_prefix("net/").map(|rest| format!("{}/{rest}", net()));
            bench.put(&below_net.unwrap_or(path.to_owned()), text);
        }
        for (name, text) in NIC {
            put(&bench.dir.path().join("bin/nic").join(name), text);
        }
        let ethtool = bench.dir.path().join("bin/ethtool");
        fs::write(&ethtool, ETHTOOL).unwrap();
        fs::set_permissions(&ethtool, fs::Permissions::from_mode(0o755)).unwrap();
        bench
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn put(&self, path: &str, text: &str) {
        put(&self.root().join(path), text);
    }

    fn value(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap().trim().to_owned()
    }

    fn nic(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("bin/nic").join(name)).unwrap().trim().to_owned()
    }

    fn run(&self, arguments: &str) -> (Option<i32>, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/tune.sh");
        let mut command = Command::new(script);
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        command.args(["-i", OURS]).args(arguments.split_whitespace());
        command.env("PATH", path).env("XBLADE_SYSROOT", self.root());
        let output = self.pair.ours.run(move || command.output().unwrap());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// Runs it; it must succeed.
    #[track_caller]
    fn good(&self, arguments: &str) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{text}");
        text
    }

    /// Everything that it could change.
    fn all(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        files(self.dir.path(), &mut all);
        all.insert("mtu".into(), self.pair.ours.facts(OURS).mtu.to_string());
        all
    }
}

fn net() -> String {
    format!("sys/class/net/{OURS}")
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{text}\n")).unwrap();
}

fn files(dir: &Path, into: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
}

const OPTIONS: &str = "--cores 2-3 --mtu 9000 --huge-pages 64 --busy-poll";

#[apply(needs_root!)]
fn showing_changes_nothing_and_names_what_should_be() {
    let bench = Bench::new();
    bench.put("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never");
    let before = bench.all();
    let told = bench.good(&format!("--show {OPTIONS}"));
    assert_eq!(bench.all(), before, "{told}");
    for part in [
        "WANT  governor                 schedutil,powersave,performance, wanted performance",
        "WANT  transparent-hugepages    always, wanted madvise",
        "OK    vm.min_free_kbytes       90000",
        "WANT  ring-rx                  512, wanted 2050",
        "OK    ring-tx                  8192",
        "WANT  pause-rx                 off, wanted on",
        "WANT  mtu                      1500, wanted 9000",
        "WANT  irq-31 (queue 1)         0-1,3, wanted 3",
        "lacks isolcpus=managed_irq,domain,2-3 rcu_nocbs=2-3 irqaffinity=0-1",
        "/etc/default/grub.d/xblade.cfg",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("irq-32"), "{told}");
}

#[apply(needs_root!)]
fn what_was_applied_once_or_twice_goes_back_exactly() {
    let bench = Bench::new();
    let before = bench.all();
    bench.good(&format!("--apply {OPTIONS}"));
    let queues = format!("{}/queues", net());
    for (path, value) in [
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor".to_owned(), "performance"),
        ("sys/kernel/mm/transparent_hugepage/enabled".to_owned(), "madvise"),
        ("proc/sys/kernel/watchdog_cpumask".to_owned(), "0-1"),
        ("proc/sys/vm/nr_hugepages".to_owned(), "64"),
        ("proc/irq/30/smp_affinity_list".to_owned(), "2"),
        ("proc/irq/31/smp_affinity_list".to_owned(), "3"),
        ("proc/irq/32/smp_affinity_list".to_owned(), "0-3"),
        (format!("{queues}/rx-0/rps_cpus"), "0"),
        (format!("{queues}/tx-0/xps_cpus"), "0"),
        (format!("{}/napi_defer_hard_irqs", net()), "2"),
        (format!("{}/gro_flush_timeout", net()), "200000"),
    ] {
        assert_eq!(bench.value(&path), value, "{path}");
    }
    let nic = |name| bench.nic(name);
    // 2050 as this NIC rounds it.
    assert_eq!((nic("rx"), nic("adaptive-rx"), nic("rx-usecs")), ("2112".into(), "off".into(), "8".into()));
    assert_eq!((nic("pause-rx"), nic("rxvlan")), ("on".into(), "off".into()));
    assert_eq!(bench.pair.ours.facts(OURS).mtu, 9000);
    let once = bench.all();
    let told = bench.good(&format!("--apply {OPTIONS}"));
    assert!(!told.contains("SET "), "{told}");
    assert_eq!(bench.all(), once);
    // With other options, the oldest values are still known.
    bench.good("--apply --cores 1 --spin --mtu 4000 --coalesce 4");
    assert_eq!(bench.value("proc/irq/30/smp_affinity_list"), "0,2-3");
    let told = bench.good("--revert");
    assert_eq!(bench.all(), before, "{told}");
    assert!(bench.good("--revert").contains("nothing to take back"));
    assert_eq!(bench.all(), before);
}

#[apply(needs_root!)]
fn what_was_changed_since_stays() {
    let bench = Bench::new();
    bench.good("--apply");
    bench.put("proc/sys/vm/stat_interval", "60");
    let told = bench.good("--revert");
    assert!(told.contains("60, not 10 as set here"), "{told}");
    assert_eq!(bench.value("proc/sys/vm/stat_interval"), "60");
    assert_eq!(bench.value("proc/sys/kernel/numa_balancing"), "1");
}

#[apply(needs_root!)]
fn what_is_refused_or_missing_is_one_line_and_nothing_to_take_back() {
    let bench = Bench::new();
    put(&bench.dir.path().join("bin/nic/refuses"), "rx\npause-rx");
    fs::remove_file(bench.root().join("proc/sys/kernel/numa_balancing")).unwrap();
    let before = bench.all();
    let (code, told) = bench.run("--apply");
    assert_eq!(code, Some(1), "{told}");
    for part in ["FAIL  ring-rx", "FAIL  pause-rx", "SKIP  numa_balancing", "SET   rxvlan"] {
        assert_eq!(told.matches(part).count(), 1, "{part}: {told}");
    }
    let state = bench.value(&format!("run/xblade-machine/tune-{OURS}.state"));
    assert!(!state.contains("ring-rx") && !state.contains("numa"), "{state}");
    bench.good("--revert");
    assert_eq!(bench.all(), before);
}

/// The service's user may not decide what root writes.
#[apply(needs_root!)]
fn a_planted_journal_is_refused() {
    let bench = Bench::new();
    let folder = bench.root().join("run/xblade-machine");
    let state = folder.join(format!("tune-{OURS}.state"));
    let victim = bench.root().join("etc/victim");
    put(&victim, "old");
    for (place, part) in
        [(victim.clone(), "is not a setting"), (bench.root().join("sys/../etc/victim"), "is not a setting")]
    {
        bench.good("--apply");
        fs::write(&state, format!("file\t{}\tnew\told\n", place.display())).unwrap();
        let (code, told) = bench.run("--revert");
        assert!(code == Some(2) && told.contains(part), "{told}");
        assert_eq!(bench.value("etc/victim"), "old");
        fs::remove_file(&state).unwrap();
    }
    std::os::unix::fs::chown(&folder, Some(65534), Some(65534)).unwrap();
    let (code, told) = bench.run("--revert");
    assert!(code == Some(2) && told.contains("does not belong to root alone"), "{told}");
}

#[apply(needs_root!)]
fn the_drivers_of_a_veth_pair_have_little_and_that_is_said() {
    let bench = Bench::new();
    fs::remove_file(bench.dir.path().join("bin/ethtool")).unwrap();
    let told = bench.good("--show");
    for part in ["SKIP  ring-rx", "SKIP  adaptive-rx", "SKIP  irq-affinity", "SKIP  kernel-command-line"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[apply(needs_root!)]
fn wrong_options_are_refused() {
    let bench = Bench::new();
    let before = bench.all();
    for (arguments, part) in [
        ("", "--show, --apply or --revert"),
        ("--show --apply", "give one of them"),
        ("--show -i", "-i needs a value"),
        ("--show -i xbpnone", "there is no interface xbpnone"),
        ("--show -i ../x", "not '../x'"),
        ("--apply --cores 9", "there is no core 9 (there are 0-3)"),
        ("--apply --cores 3-2", "from the lower number to the higher"),
        ("--apply --cores two", "--cores two"),
        ("--apply --mtu jumbo", "--mtu jumbo: give a number"),
        ("--apply --fast", "unknown argument '--fast'"),
    ] {
        let (code, told) = bench.run(arguments);
        assert!(code == Some(2) && told.contains(part), "{arguments}: {told}");
    }
    assert_eq!(bench.all(), before);
}

#[apply(needs_root!)]
fn a_configuration_is_held_against_how_the_machine_is_tuned() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let check = |rings: &str| {
        let text = format!(
            "interfaces = ['{OURS}']\n[[export]]\naddress = '0.1'\npath = '{image}'\n[workers]\ncores = [0]\n{rings}"
        );
        let file = dir.path().join("xblade.toml");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(XBLADE);
        command.arg("check").arg("--config").arg(file);
        let output = pair.ours.run(move || command.output().unwrap());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = check("");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("cores 0 are") || told.contains("every one of 1 cores"), "{told}");
    let reserved = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap();
    let (code, told) = check("[rings]\nhuge-pages = true\nrx-ring = 65536\n");
    if reserved.trim().parse::<u64>().unwrap() < 1024 {
        assert_eq!(code, Some(3), "{told}");
        assert!(told.contains("FIX   ") && told.contains("sysctl vm.nr_hugepages="), "{told}");
    }
    assert!(told.ends_with("no faults: 1 export on xbp0\n"), "{told}");
}
