//! `xblade tune` and `xblade check` on this machine, which they do not change: `tune --apply`
//! is tested on a made-up one (`src/tune/tests.rs`).

use std::fs;
use std::process::Command;

use crate::daemon::XBLADE;
use crate::image::Dir;
use crate::steer::run;
use xblade_kit::{OURS, Pair, apply, needs_root};

#[apply(needs_root!)]
fn the_driver_of_a_veth_pair_has_little_and_that_is_reported() {
    let pair = Pair::with("numrxqueues 2 numtxqueues 2");
    pair.ours.sh(&format!("ip link property add dev {OURS} altname xbpstorage"));
    let settings = || pair.ours.sh(&format!("ethtool -k {OURS}; ip link show {OURS}"));
    let before = settings();
    for arguments in [format!("tune -i {OURS}"), "tune -i xbpstorage --plan".to_owned()] {
        let (code, out, err) = run(&pair, &arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        for part in ["ring-rx", "adaptive-rx", "pause-rx"] {
            assert!(out.contains(&format!("SKIP  {OURS}: {part}")), "{part}: {out}");
        }
        assert!(out.contains(&format!("WANT  {OURS}: rxvlan             on, wanted off")), "{out}");
    }
    assert_eq!(settings(), before);
    let (code, out, err) = run(&pair, &format!("tune -i {OURS} --revert"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("nothing to take back"), "{out}");
}

#[apply(needs_root!)]
fn wrong_options_are_refused() {
    let pair = Pair::new();
    for (arguments, code, part) in [
        ("tune".to_owned(), 2, "--interface"),
        (format!("tune -i {OURS} --plan --apply"), 2, "cannot be used with"),
        (format!("tune -i {OURS} --apply --cores 3-2"), 2, "give numbers and ranges"),
        (format!("tune -i {OURS} --apply --mtu jumbo"), 2, "--mtu"),
        (format!("tune -i {OURS} --apply --fast"), 2, "--fast"),
        (format!("tune -i {OURS} --apply --cores 9999"), 3, "there is no core 9999 (there are 0"),
        ("tune -i xbpnone --apply".to_owned(), 3, "`xbpnone` does not exist"),
        ("tune -i ../x --apply".to_owned(), 3, "`../x` does not exist"),
    ] {
        let (found, _, err) = run(&pair, &arguments);
        assert!(found == Some(code) && err.contains(part), "{arguments}: {err}");
    }
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
    assert!(
        told.contains("kernel-command-line lacks isolcpus=managed_irq,domain,0 ")
            || told.contains("every core has a worker"),
        "{told}"
    );
    let reserved = fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap();
    let (code, told) = check("[rings]\nhuge-pages = true\nrx-ring = 65536\n");
    if reserved.trim().parse::<u64>().unwrap() < 1024 {
        assert_eq!(code, Some(3), "{told}");
        assert!(told.contains("FIX   huge-pages ") && told.contains(" --huge-pages "), "{told}");
    }
    assert!(told.ends_with("no faults: 1 export on xbp0\n"), "{told}");
}
