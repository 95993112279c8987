//! Checks our text and our rules with the programs of others.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xblade::control::metrics::{Format, render};

use crate::overview::overview;
use xblade_kit::skipped;

pub fn alerts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/alerts.yml")
}

/// Whether there is such a program; reports the skip if not.
pub fn has(program: &str, argument: &str, test: &str) -> bool {
    let ran = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
        || skipped(test, &format!("needs {program} (deploy/setup.sh test installs it)"))
}

/// Runs it with `input`, requires success and returns its output.
fn run(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn promtool(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(alerts().parent().unwrap());
    run(command, input)
}

#[test]
fn promtool_finds_nothing_wrong_with_the_text() {
    if !has("promtool", "--version", "promtool_finds_nothing_wrong_with_the_text") {
        return;
    }
    let said = promtool(&["check", "metrics"], &render(&overview(), Format::Prometheus));
    assert_eq!(said, "");
}

#[test]
fn a_strict_reader_of_openmetrics_takes_the_text() {
    let script = "\
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
families = list(read(sys.stdin.read()))
exports = [f for f in families if f.name == 'xblade_export']
print(len(families), exports[0].samples[0].labels['path'] == '/srv/a \"b\"\\\\c\\n.img')";
    // The interpreter for which Debian's packages are installed.
    let mut there = Command::new("/usr/bin/python3");
    there.args(["-c", "import prometheus_client.openmetrics.parser"]).stderr(Stdio::null());
    if !there.status().is_ok_and(|status| status.success()) {
        skipped("a_strict_reader_of_openmetrics_takes_the_text", "needs python3-prometheus-client");
        return;
    }
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]);
    let said = run(command, &render(&overview(), Format::OpenMetrics));
    assert_eq!(said, format!("{} True\n", xblade::control::metrics::FAMILIES.len()));
}

#[test]
fn alert_rules_hold_and_fire() {
    if !has("promtool", "--version", "alert_rules_hold_and_fire") {
        return;
    }
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts_test.yml"], "");
}
