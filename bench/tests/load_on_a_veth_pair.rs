//! Runs loads of every kind as a user does, on veth pairs in temporary namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::fs;
use std::path::PathBuf;

use rig::{BENCH, Lie, Rig};
use serde_json::Value;
use xblade_kit::{apply, has, needs_root, skipped};

/// Runs the program, and returns the outcome, too.
fn outcome(rig: &Rig, args: &str) -> (Option<i32>, String, Value) {
    let json = rig.files().join("result.json");
    let (code, text) = rig.bench(&format!("{args} --json {}", json.display()));
    let all: Value = serde_json::from_slice(&fs::read(json).unwrap_or(b"{}".to_vec())).unwrap();
    (code, text, all["document"]["sections"][0]["outcomes"][0].clone())
}

#[apply(needs_root!)]
fn every_lie_of_a_target_is_found_and_an_honest_one_passes() {
    for (lie, said) in [
        (Lie::None, "no faults"),
        (Lie::Lose, " lost"),
        (Lie::Stale, " stale"),
        (Lie::WrongTag, "not to any request of this run"),
        (Lie::WrongLba, " wrong lba"),
    ] {
        for how in ["--count 6000", "--count 6000 --rate 20000 --threads 3"] {
            let mut rig = Rig::new(1500);
            rig.start_corrupting(3, lie);
            let (code, text) = rig.bench(&format!(
                "load --interface xbp1 --export 7.3 --port af-packet --op mixed --verify --span 1024 {how}"
            ));
            assert_eq!(code, Some(if lie == Lie::None { 0 } else { 2 }), "{lie:?}, {how}: {text}");
            // Not the line of counts, which contains the name of every kind.
            let mut findings = text.lines().filter(|line| !line.starts_with("retransmits"));
            assert!(findings.any(|line| line.contains(said)), "{lie:?}, {how}: {text}");
        }
    }
}

#[apply(needs_root!)]
fn an_open_loop_keeps_its_rate_and_tells_intervals_apart() {
    let mut rig = Rig::new(1500);
    rig.start_corrupting(3, Lie::None);
    let (code, text, run) = outcome(
        &rig,
        "load --interface xbp1 --export 7.3 --port af-packet --rate 2000 --seconds 1 --warm-up 0.5 \
         --interval 0.25 --pattern sequential --seed 5",
    );
    assert_eq!(code, Some(0), "{text}");
    let number = |path: &str| run.pointer(path).and_then(Value::as_f64).unwrap();
    assert!((0.999..1.5).contains(&number("/seconds")), "{}", number("/seconds"));
    assert_eq!(number("/setup/rate"), 2000.0);
    assert_eq!((number("/setup/warm_up_s"), number("/setup/seed")), (0.5, 5.0));
    assert_eq!(run["setup"]["pattern"], "sequential");
    assert!(!run["reads"]["service"].is_null());
    let intervals = run["intervals"].as_array().unwrap();
    assert!((4..=6).contains(&intervals.len()), "{} intervals", intervals.len());
    assert!(text.contains("latency of 2000 requests"), "each that was due, and no other: {text}");
}

#[apply(needs_root!)]
fn threads_and_exports_share_a_load_and_hear_only_their_own_replies() {
    let mut rig = Rig::new(1500);
    rig.start_corrupting(3, Lie::None);
    rig.start_corrupting(4, Lie::None);
    let (code, text) = rig.bench("discover --interface xbp1 --json");
    let told: Value = serde_json::from_str(&text).unwrap();
    let addresses: Vec<_> = told.as_array().unwrap().iter().map(|one| one["export"].as_str()).collect();
    assert_eq!((code, addresses), (Some(0), vec![Some("7.3"), Some("7.4")]), "{text}");
    let load = "load --interface xbp1 --port af-packet --op mixed --read-percent 20 --verify --span 2048";
    for (exports, threads) in [("7.3", 4), ("7.3,7.4", 1), ("7.3,7.4", 3)] {
        let (code, text, outcome) =
            outcome(&rig, &format!("{load} --export {exports} --threads {threads} --count 9000 --window 8"));
        assert_eq!(code, Some(0), "{exports} over {threads}: {text}");
        assert_eq!(
            (&outcome["trouble"]["unexpected"], &outcome["setup"]["threads"]),
            (&0.into(), &threads.into())
        );
        assert!(text.contains("latency of 9000 requests") && text.contains("no faults"), "{text}");
    }
}

#[apply(needs_root!)]
fn a_queue_for_each_thread_or_a_clear_refusal() {
    let load = "load --interface xbp1 --export 7.3 --port af-xdp --threads 2 --count 4000";
    let mut rig = Rig::new(1500);
    rig.start_target(&[BENCH, "echo", "--interface", "xbp0", "--export", "7.3"]);
    let (code, text) = rig.bench(load);
    assert_eq!(code, Some(1));
    assert!(text.contains("xbp1 has 1 queues for 2 threads") && text.contains("--port af-packet"), "{text}");

    let xblade = PathBuf::from(BENCH).with_file_name("xblade");
    if !xblade.exists() {
        skipped("a_queue_for_each_thread_or_a_clear_refusal", &format!("{} is not built", xblade.display()));
        return;
    }
    let mut rig = Rig::with_queues(1500, 2);
    let file = rig.file(1 << 20);
    let export = format!("7.3={file}");
    let alone = ["--control", "none", "--state", "none"];
    rig.start_target(
        &[&[xblade.to_str().unwrap(), "serve", &export, "--interface", "xbp0"][..], &alone].concat(),
    );
    let (code, text) = rig.bench(&format!("{load} --op mixed --verify"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("latency of 4000 requests"), "{text}");
}

#[apply(needs_root!)]
fn no_way_of_writing_gets_past_the_guard_and_no_window_past_the_buffers() {
    if !has("no_way_of_writing_gets_past_the_guard_and_no_window_past_the_buffers", "vblade") {
        return;
    }
    let mut rig = Rig::new(1500);
    let (file, bytes) = rig.file_with_data(1 << 20);
    rig.start_target(&["vblade", "-b", "16", "7", "3", "xbp0", &file]);
    rig.start_corrupting(4, Lie::None);
    for way in [
        "load --op write --rate 100",
        "load --op mixed --read-percent 99 --threads 2",
        "load --op write --pattern sequential --warm-up 1",
        "load --op write --span 2 --export 7.4",
    ] {
        let (code, text) = rig.bench(&format!("{way} --interface xbp1 --export 7.3 --port af-packet"));
        assert_eq!(code, Some(1), "{way}: {text}");
        assert!(
            ["export 7.3 holds", "ext2/3/4", "--destroy-data"].iter().all(|part| text.contains(part)),
            "{way}: {text}"
        );
    }
    assert!(fs::read(&file).unwrap() == bytes, "nothing was written");
    let write = "load --op write --count 500 --destroy-data";
    let (code, text) = rig.bench(&format!("{write} --interface xbp1 --export 7.3 --port af-packet"));
    assert_eq!(code, Some(0), "{text}");
    assert!(fs::read(&file).unwrap() != bytes);

    let window = "load --interface xbp1 --export 7.4,7.3 --port af-packet --count 100 --window 17";
    let (code, text) = rig.bench(window);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("export 7.3 takes 16") && text.contains("--beyond-buffer-count"), "{text}");
    let (code, text) = rig.bench(&format!("{window} --beyond-buffer-count"));
    assert_eq!(code, Some(0), "{text}");
}

#[apply(needs_root!)]
fn a_load_leaves_a_report_and_refuses_a_directory_of_others_before_it_begins() {
    let mut rig = Rig::new(1500);
    rig.start_corrupting(3, Lie::None);
    let directory = rig.files().join("report");
    let load = format!(
        "load --interface xbp1 --export 7.3 --port af-packet --op mixed --seconds 0.5 --interval 0.1 --report {}",
        directory.display()
    );
    let (code, text) = rig.bench(&load);
    assert_eq!(code, Some(0), "{text}");
    let names =
        || fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let of = |end: &str| names().filter(|name| name.ends_with(end)).count();
    assert_eq!((of(".hlog"), of(".hgrm"), of(".svg"), of(".html")), (1, 2, 3, 1));
    let result: Value = serde_json::from_slice(&fs::read(directory.join("result.json")).unwrap()).unwrap();
    let sides = result["results"].as_array().unwrap();
    assert_eq!(
        (&sides[0]["name"], &sides[1]["name"]),
        (&"export 7.3, read".into(), &"export 7.3, write".into())
    );
    for side in sides {
        // Nothing is sent before the start of the clock: it would seem to be answered in
        // no time.
        assert!(side["p50_us"].as_f64().unwrap() > 0.5, "{side}");
    }
    let html = fs::read_to_string(directory.join("report.html")).unwrap();
    assert!(html.contains("Seconds since the start"), "intervals are there, too");

    names().for_each(|name| fs::remove_file(directory.join(name)).unwrap());
    fs::write(directory.join("notes"), "mine").unwrap();
    let (code, text) = rig.bench(&load);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("notes") && !text.contains("latency of"), "before anything was sent: {text}");
    assert_eq!(fs::read_to_string(directory.join("notes")).unwrap(), "mine");
}
