//! Renders a stored result again, and reads its files with other programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xblade_kit::Scratch;

const BENCH: &str = env!("CARGO_BIN_EXE_xblade-bench");

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn report(result: &Path, directory: Option<&Path>) -> Output {
    let mut command = Command::new(BENCH);
    command.arg("report").arg(result);
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
    let output = report(&golden.join("result.json"), Some(place.path()));
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
fn a_file_that_is_no_result_is_named() {
    let place = Scratch::new();
    for (name, content, expected) in [
        ("fio.json", "{\"jobs\": []}", "missing field `document`"),
        ("words.json", "IOPS: 5", "expected value at line 1"),
    ] {
        let file = place.path().join(name);
        fs::write(&file, content).unwrap();
        let output = report(&file, None);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(error.contains(expected) && error.contains(&format!("{name} is no result")), "{error}");
    }
    let missing = report(&place.path().join("none.json"), None);
    assert!(text(&missing.stderr).contains("none.json"), "{}", text(&missing.stderr));
}

#[test]
fn hdrhistogram_in_python_reads_distributions_and_logs_and_agrees() {
    let tools = Path::new(BENCH).ancestors().nth(2).unwrap().join("tools/python/bin/python3");
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
