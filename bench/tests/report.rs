//! Renders stored results again, and reads them with other programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use xblade_kit::Scratch;

const BENCH: &str = env!("CARGO_BIN_EXE_xblade-bench");

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn report(results: &[&Path], directory: Option<&Path>) -> Output {
    let mut command = Command::new(BENCH);
    command.arg("report").args(results);
    if let Some(directory) = directory {
        command.arg("--report").arg(directory);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Not eprintln!, which the harness captures.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: a test of reports: {why}");
}

#[test]
fn a_stored_result_gives_the_same_report_again() {
    let (place, golden) = (Scratch::new(), tests().join("golden"));
    let output = report(&[&golden.join("result.json")], Some(place.path()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("latency of 315 requests"), "{}", text(&output.stdout));
    let mut compared = 0;
    for entry in fs::read_dir(&golden).unwrap() {
        let name = entry.unwrap().file_name();
        let (ours, theirs) =
            (fs::read(place.path().join(&name)).unwrap(), fs::read(golden.join(&name)).unwrap());
        assert!(ours == theirs, "{}", name.display());
        compared += 1;
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), compared);
}

#[test]
fn several_results_are_laid_over_each_other() {
    let (place, golden) = (Scratch::new(), tests().join("golden/result.json"));
    let mut all: Value = serde_json::from_slice(&fs::read(golden).unwrap()).unwrap();
    let outcomes = all["xblade-bench document"]["sections"][0]["outcomes"].take();
    let mut files = Vec::new();
    for (at, name) in [(0, "before"), (1, "after")] {
        let mut outcome = outcomes[at].clone();
        outcome["name"] = "".into();
        let file = place.path().join(format!("{name}.json"));
        fs::write(&file, serde_json::json!({ "xblade-bench": [outcome] }).to_string()).unwrap();
        files.push(file);
    }
    let directory = place.path().join("both");
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    assert!(report(&files, Some(&directory)).status.success());
    let html = fs::read_to_string(directory.join("report.html")).unwrap();
    let plot = fs::read_to_string(directory.join("percentiles.svg")).unwrap();
    for name in ["before.json", "after.json"] {
        assert!(
            html.contains(&format!("/{name}</td>")) && plot.contains(&format!("/{name}</text>")),
            "{plot}"
        );
    }
}

#[test]
fn a_file_that_is_no_result_is_named() {
    let place = Scratch::new();
    for (name, content, expected) in [
        ("fio.json", "{\"jobs\": []}", "not a result of this program"),
        ("words.json", "IOPS: 5", "not JSON"),
        ("other.json", "{\"xblade-bench\": [{\"name\": 5}]}", "not a result of this version"),
    ] {
        let file = place.path().join(name);
        fs::write(&file, content).unwrap();
        let output = report(&[&file], None);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
    let missing = report(&[&place.path().join("none.json")], None);
    assert!(text(&missing.stderr).contains("none.json"), "{}", text(&missing.stderr));
}

#[test]
fn hdrhistogram_in_python_reads_distributions_and_logs_and_agrees() {
    let tools = Path::new(BENCH).ancestors().nth(2).unwrap().join("tools/hdrhistogram/bin/python3");
    let python = if tools.exists() { tools } else { PathBuf::from("python3") };
    let can = Command::new(&python).args(["-c", "import hdrh"]).output().is_ok_and(|o| o.status.success());
    if !can {
        return skipped("python3 has no package hdrhistogram (tests/run.sh installs it)");
    }
    let output = Command::new(python)
        .arg(tests().join("hdrhistogram.py"))
        .arg(tests().join("golden"))
        .output()
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && said.contains("4 histograms agree"), "{said}");
}

/// An object whose keys are free: names of options.
const FREE: &str = "job options";
/// The keys that plotters read of each direction.
const PLOTTED: [&str; 12] = [
    "iops",
    "bw",
    "bw_bytes",
    "io_bytes",
    "runtime",
    "total_ios",
    "iops_min",
    "iops_max",
    "iops_mean",
    "iops_stddev",
    "clat_ns",
    "lat_ns",
];

#[test]
fn every_key_is_one_of_fio_with_the_same_type() {
    if Command::new("fio").arg("--version").output().is_err() {
        return skipped("`fio` is not installed");
    }
    let file = PathBuf::from("/dev/shm").join(format!("xbb-report-fio-{}", std::process::id()));
    let output = Command::new("fio")
        .args([
            "--name=x",
            "--size=1m",
            "--rw=randrw",
            "--bs=4k",
            "--ioengine=psync",
            "--time_based",
            "--runtime=1",
        ])
        .args(["--output-format=json+", &format!("--filename={}", file.display())])
        .output()
        .unwrap();
    let _ = fs::remove_file(file);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ours: Value = serde_json::from_slice(&fs::read(tests().join("golden/result.json")).unwrap()).unwrap();
    for key in ["fio version", "jobs"] {
        assert_eq!(kind(&ours[key]), kind(&theirs[key]), "{key}");
    }
    let jobs = ours["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 3);
    let mut faults = Vec::new();
    for job in jobs {
        compare("jobs[]", job, &theirs["jobs"][0], &mut faults);
    }
    assert!(faults.is_empty(), "{faults:#?}");
    // The last job used both directions.
    for direction in ["read", "write"] {
        let (side, fio) = (&jobs[2][direction], &theirs["jobs"][0][direction]);
        let lacking: Vec<_> = PLOTTED.iter().filter(|key| side.get(key).is_none()).collect();
        assert!(lacking.is_empty(), "{direction} lacks {lacking:?}");
        let percentiles = |of: &Value| -> Vec<String> {
            of["clat_ns"]["percentile"].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(percentiles(side), percentiles(fio));
    }
}

/// Checks that every key of ours exists in theirs with the same type, recursively.
fn compare(path: &str, ours: &Value, theirs: &Value, faults: &mut Vec<String>) {
    if kind(ours) != kind(theirs) {
        faults.push(format!("{path} is {} here, and {} there", kind(ours), kind(theirs)));
    }
    for (key, value) in ours.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match theirs.get(key) {
            Some(_) if key == FREE => {}
            Some(theirs) => compare(&path, value, theirs, faults),
            None => faults.push(format!("{path} is not in fio's")),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a bool",
        Value::Number(n) if n.is_f64() => "a number with decimals",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
