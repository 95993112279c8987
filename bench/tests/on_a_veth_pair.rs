//! Runs the program as a user does, on veth pairs in temporary namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

mod rig;

use rig::{BENCH, Rig, output};
use xblade_kit::{Space, apply, has, needs_root, skipped, until};

#[apply(needs_root!)]
fn the_echo_is_found_and_answers_through_both_ports() {
    for (mtu, sectors) in [(1500, 2), (9000, 16)] {
        let mut rig = Rig::new(mtu);
        rig.start_target(&[BENCH, "echo", "--interface", "xbp0", "--export", "7.3"]);
        for port in ["af-packet", "af-xdp"] {
            let json = rig.files().join("result.json");
            let (code, text) = rig.bench(&format!(
                "load --interface xbp1 --export 7.3 --op mixed --port {port} --count 5000 --json {}",
                json.display()
            ));
            assert_eq!(code, Some(0), "MTU {mtu}, {port}: {text}");
            let result: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
            let setup = &result["document"]["sections"][0]["outcomes"][0]["setup"];
            assert!(text.contains("latency of 5000 requests"), "{text}");
            assert_eq!(setup["sectors"], sectors);
            assert_eq!(setup["port"], port);
        }
        let (code, text) = rig.bench("discover --interface xbp1");
        assert_eq!(code, Some(0));
        assert!(text.contains("7.3") && text.contains("xblade-bench echo"), "{text}");
        let (code, text) = rig.bench("load --interface xbp1 --export 7.4");
        assert_eq!(code, Some(1));
        assert!(text.contains("export 7.4: no answer"), "{text}");
    }
}

#[apply(needs_root!)]
fn where_nobody_answers_there_is_a_reason_to_look_into() {
    let mut rig = Rig::new(1500);
    let discover = |space: &Space, interface: &str| {
        let done = output(space, &[BENCH, "discover", "--interface", interface]);
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, text) = discover(&rig.pair.peer, "xbp1");
    assert_eq!(code, Some(1));
    assert!(text.contains("nobody answered on xbp1") && text.contains("segment and VLAN"), "{text}");
    rig.start_target(&[BENCH, "echo", "--interface", "xbp0", "--export", "7.3"]);
    until("the echo answers", || discover(&rig.pair.peer, "xbp1").0 == Some(0));
    let (code, text) = discover(&rig.pair.ours, "xbp0");
    assert_eq!(code, Some(1));
    assert!(text.contains("an xblade serves on it") && text.contains("from another host"), "{text}");
    rig.pair.ours.sh("ip link set xbp0 down");
    let (code, text) = discover(&rig.pair.peer, "xbp1");
    assert!(code == Some(1) && text.contains("it is down (ip link set xbp1 up"), "{text}");
}

#[apply(needs_root!)]
fn a_checked_run_passes_on_vblade_and_sees_what_was_changed_behind_its_back() {
    if !has("a_checked_run_passes_on_vblade_and_sees_what_was_changed_behind_its_back", "vblade") {
        return;
    }
    let mut rig = Rig::new(9000);
    let file = rig.file(1 << 20);
    rig.start_target(&["vblade", "-b", "64", "7", "3", "xbp0", &file]);
    let load = "load --interface xbp1 --export 7.3 --verify";
    let (code, text) = rig.bench(&format!("{load} --op mixed --count 3000 --seed 1"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no faults"), "{text}");

    // Every sector has a stamp now: 128 requests of 16 sectors cover the file.
    let read = format!("{load} --op read --pattern sequential --count 128");
    let (code, text) = rig.bench(&read);
    assert!(code == Some(0) && text.contains("2048 sectors checked, 0 not known, no faults"), "{text}");

    let mut bytes = fs::read(&file).unwrap();
    bytes[100 * 512 + 77] ^= 1;
    bytes.copy_within(200 * 512..201 * 512, 300 * 512);
    fs::write(&file, bytes).unwrap();
    let (code, text) = rig.bench(&read);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("1 corrupt, 1 wrong lba"), "{text}");
    assert!(text.contains("sector 300: holds the contents of sector 200"), "{text}");
}

#[apply(needs_root!)]
fn a_comparison_with_fio_measures_both_on_one_file_and_keeps_every_sample() {
    if !has("a_comparison_with_fio_measures_both_on_one_file_and_keeps_every_sample", "fio") {
        return;
    }
    let xblade = PathBuf::from(BENCH).with_file_name("xblade");
    if !xblade.exists() {
        skipped(
            "a_comparison_with_fio_measures_both_on_one_file_and_keeps_every_sample",
            &format!("{} is not built", xblade.display()),
        );
        return;
    }
    let rig = Rig::new(1500);
    let report = rig.files().join("report");
    let core = std::thread::available_parallelism().map_or(0, |cores| cores.get().min(2) - 1);
    let (code, text) = rig.bench(&format!(
        "compare --xblade {} --targets fio,xblade:file --xblade-option --idle=adaptive --case write-durable:4096:8 \
         --rounds 2 --seconds 0.5 --warm-up 0 --mib 4 --cold --target-core {core} --backing {} --report {}",
        xblade.display(),
        rig.files().display(),
        report.display()
    ));
    assert_eq!(code, Some(0), "{text}");
    let json = fs::read(report.join("result.json")).unwrap();
    let report = fs::read_to_string(report.join("report.md")).unwrap();
    assert!(text.contains(&report), "{text}");
    assert!(report.contains("MTU 9000, random durable writes of 4 KiB, 8 in flight"), "{report}");
    assert!(report.contains("of fio") && report.contains("xblade with: --idle=adaptive"), "{report}");
    assert!(!report.contains("of vblade") && !report.contains("requests failed"), "{report}");

    let all: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let samples = all["document"]["sections"][0]["samples"].as_array().unwrap();
    let order: Vec<_> = samples.iter().map(|s| (s["round"].as_u64(), s["target"].as_str())).collect();
    let (fio, file) = (Some("fio"), Some("xblade store=file"));
    assert_eq!(order, [(Some(1), fio), (Some(1), file), (Some(2), fio), (Some(2), file)]);
    for sample in samples {
        let exports = sample["outcome"]["setup"]["exports"].as_array().unwrap();
        assert_eq!(exports.is_empty(), sample["target"] == "fio", "{sample}");
        let number = |path: &str| sample.pointer(path).and_then(serde_json::Value::as_f64).unwrap();
        let wanted = ["/outcome/seconds", "/machine/target_core_busy"];
        assert!(wanted.iter().all(|path| number(path) > 0.0), "{sample}");
    }
    let left: Vec<_> = fs::read_dir(rig.files()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "the files are gone, and so are results: {left:?}");
}
