//! Runs `xblade-bench compare` as a user does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use xblade_kit::{Scratch, apply, needs_root, until};

const BENCH: &str = env!("CARGO_BIN_EXE_xblade-bench");

fn within(folder: &Scratch, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// The names of the files in a folder, in order.
fn names(folder: &Scratch) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder.path()).unwrap().map(name).collect();
    names.sort();
    names
}

/// The last core, at most the second.
fn target_core() -> String {
    std::thread::available_parallelism().map_or(0, |cores| cores.get().min(2) - 1).to_string()
}

/// Starts `compare --profile quick`, too short for meaningful figures, in a folder.
fn start(folder: &Scratch, seconds: &str, more: &[&str]) -> Child {
    let mut command = Command::new(BENCH);
    command.args(["compare", "--profile", "quick", "--seconds", seconds, "--rounds", "2", "--mib", "4"]);
    command.args([
        "--warm-up",
        "0.1",
        "--target-core",
        &target_core(),
        "--backing",
        folder.path().to_str().unwrap(),
    ]);
    command.args(more).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a comparison: its exit code and output. Checks that it left nothing behind.
fn end(folder: &Scratch, child: Child) -> (Option<i32>, String) {
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(left_behind(folder, pid), [""; 0]);
    (output.status.code(), text(output))
}

fn text(output: Output) -> String {
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// The namespaces and files of a comparison.
fn left_behind(folder: &Scratch, pid: u32) -> Vec<String> {
    let listed = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = format!("xbb-{pid}");
    [Path::new("/run/netns"), folder.path(), &std::env::temp_dir()]
        .into_iter()
        .flat_map(listed)
        .map(|path| path.to_string_lossy().into_owned())
        .filter(|path| path.contains(&format!("{ours}-")) || path.contains(&format!("{ours}.")))
        .collect()
}

fn compare(folder: &Scratch, more: &[&str]) -> (Option<i32>, String) {
    end(folder, start(folder, "0.3", more))
}

/// The echo as a custom target.
fn echo(prefix: &str) -> String {
    format!("{prefix}{BENCH} echo --interface {{interface}} --export {{shelf}}.{{slot}}")
}

#[apply(needs_root!)]
fn a_report_is_written() {
    let folder = Scratch::new();
    let xblade = PathBuf::from(BENCH).with_file_name("xblade");
    // An earlier build may be the same one.
    let targets = if xblade.exists() { "echo,xblade,before:mmap:spin" } else { "echo" };
    if targets == "echo" {
        let _ =
            writeln!(std::io::stderr(), "SKIPPED xblade in a comparison: {} is not built", xblade.display());
    }
    let slow = format!("slow=sh -c 'sleep 1; exec {}'", echo(""));
    let before = xblade.to_str().unwrap();
    let more = ["--targets", targets, "--before", before, "--target-cmd", &slow, "--report", "first"];
    let (code, text) = compare(&folder, &more);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("report: ") && text.contains("first/report.html"), "{text}");
    assert!(text.contains("| slow ") && text.contains("too short to say much"), "{text}");
    for name in ["report.html", "report.md", "result.json", "percentiles.svg", "01-echo-read.hgrm"] {
        assert!(folder.path().join("first").join(name).exists(), "{name}");
    }

    let file = within(&folder, "first/result.json");
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let document = &result["document"];
    let section = &document["sections"][0];
    let samples = section["samples"].as_array().unwrap();
    let count = targets.split(',').count() + 1;
    assert_eq!(samples.len(), 2 * count, "every target in both rounds");
    for sample in samples {
        let number = |path: &str| sample.pointer(path).and_then(Value::as_f64).unwrap();
        let wanted = ["/round", "/machine/generator_core_busy"];
        // Ticks may be few, and all of one kind.
        assert!(number("/outcome/cost/user_ns") + number("/outcome/cost/system_ns") > 0.0, "{sample}");
        assert!(wanted.iter().all(|path| number(path) > 0.0), "{sample}");
        // Every target sends with system calls, and needs some time of its own between them.
        let target = sample["target"].as_str().unwrap();
        let cpu_ns = 1e9 / number("/outcome/seconds").max(0.3);
        assert!(number("/traced/calls") > 0.001 && number("/traced/calls") < 100.0, "{sample}");
        assert!(number("/traced/user_ns") > 20.0 && number("/traced/user_ns") < cpu_ns, "{sample}");
        assert_eq!(sample["inside"].is_null(), target == "echo" || target == "slow", "{sample}");
        if !sample["inside"].is_null() {
            let [p50, p99] = ["/inside/p50_us", "/inside/p99_us"].map(number);
            assert!(p50 > 1.0 && p50 <= p99 && number("/inside/count") >= 256.0, "{sample}");
        }
        let names = sample["outcome"]["conditions"].to_string();
        assert!(names.contains("\"XDP at the target\",\"value\":\"native mode\""), "{names}");
        assert!(names.contains("\"durability\"") && !names.contains("clock source"), "{names}");
    }
    for row in section["rows"].as_array().unwrap() {
        let has_echo = row["target"] != "echo";
        assert_eq!(row["cpu_us_over_echo"].is_number(), has_echo, "{row}");
        assert!(row["user_ns"]["median"].as_f64().unwrap() > 0.0 && row["calls"].is_number(), "{row}");
    }
    assert!(
        text.contains(" is fastest") && document["verdict"].as_str().unwrap().contains("suspect"),
        "{text}"
    );
    assert_eq!(text.contains("| before store=mmap idle=spin "), xblade.exists(), "{text}");
    let ratios = section["ratios"].as_array().unwrap();
    let slow = ratios.iter().find(|ratio| ratio["target"] == "slow" && ratio["to"] == "echo").unwrap();
    assert!(
        slow["least"].as_f64() <= slow["median"].as_f64() && slow["median"].as_f64() <= slow["most"].as_f64()
    );
    let conditions = document["conditions"].to_string();
    for name in ["kernel", "mitigations", "clock source", "governor", "time", "files", "profile"] {
        assert!(conditions.contains(&format!("{{\"name\":\"{name}\",")), "{name}: {conditions}");
    }

    // The report's directory is named after the profile and the time.
    let (code, text) = compare(&folder, &["--targets", "echo"]);
    assert_eq!(code, Some(0), "{text}");
    let names = names(&folder);
    assert!(names.len() == 2 && names[1].starts_with("xblade-report-quick-"), "{names:?}");
}

#[apply(needs_root!)]
fn several_exports_are_loaded_and_idle_ones_are_served_beside_them() {
    let folder = Scratch::new();
    let xblade = PathBuf::from(BENCH).with_file_name("xblade").exists();
    let (targets, other) = (if xblade { "echo,xblade:mmap" } else { "echo" }, echo("other="));
    let case = ["--case", "mixed-volatile:4096:2:3+2", "--report", "many"];
    let (code, text) =
        compare(&folder, &[&["--targets", targets, "--target-cmd", &other], &case[..]].concat());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 in flight on each of 3 exports, beside 2 idle exports"), "{text}");
    assert!(!text.contains("| other "), "a command names one export: {text}");
    let result: Value =
        serde_json::from_slice(&fs::read(within(&folder, "many/result.json")).unwrap()).unwrap();
    for sample in result["document"]["sections"][0]["samples"].as_array().unwrap() {
        assert_eq!(sample["outcome"]["setup"]["exports"], json!(["0.1", "0.2", "0.3"]));
        // Every export has its share of the load.
        let count = sample["inside"]["count"].as_u64();
        assert!(count.is_none_or(|count| count > 10), "{sample}");
    }
}

#[apply(needs_root!)]
fn a_target_that_lies_is_found_out() {
    let folder = Scratch::new();
    // The echo acknowledges every write, and stores none.
    let checked = ["--case", "mixed-durable:4096", "--verify"];
    let liar = echo("liar=");
    let more = [&["--targets", "echo", "--target-cmd", &liar], &checked[..]].concat();
    let (code, text) = compare(&folder, &more);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("liar: ") && text.contains("sectors held the wrong data"), "{text}");
    assert!(!text.contains("| echo"), "data are checked only where they are kept: {text}");
}

#[apply(needs_root!)]
fn what_is_wrong_is_told_by_name_and_nothing_is_left() {
    let folder = Scratch::new();
    let profile = within(&folder, "own.toml");
    fs::write(&profile, "about = 'x'\nrounds = 1\nsecond = 1\n").unwrap();
    let more: [(&[&str], &[&str]); 6] = [
        (&["--profile", "speed"], &["--profile speed: there is no such profile", "durable-writes"]),
        (&["--profile", &profile], &["own.toml", "line 3", "unknown field `second`"]),
        (&["--targets", "xblade", "--xblade", "/no/xblade"], &["/no/xblade: there is no such program"]),
        (
            &["--targets", "echo", "--target-cmd", "a=no-such-program"],
            &["there is no program `no-such-program`"],
        ),
        (&["--targets", "vblade", "--mib", "99999999"], &["MiB are free", "give a smaller --mib"]),
        (
            &["--targets", "echo", "--target-cmd", "a=sh -c 'echo no luck; exit 3'"],
            &["the target a has ended by itself", "no luck"],
        ),
    ];
    for (words, wanted) in more {
        let words =
            if words[0] == "--profile" { words.to_vec() } else { [&["--profile", "quick"], words].concat() };
        let mut command = Command::new(BENCH);
        command.args(["compare", "--seconds", "0.1", "--rounds", "1", "--warm-up", "0", "--target-core"]);
        command
            .arg(target_core())
            .arg("--backing")
            .arg(folder.path())
            .args(&words)
            .current_dir(folder.path());
        // A program that may not be installed is replaced by one that is.
        command.args(["--vblade", "/bin/true"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (code, text) = end(&folder, command.spawn().unwrap());
        assert_eq!(code, Some(1), "{words:?}: {text}");
        assert!(wanted.iter().all(|part| text.contains(part)), "{words:?}: {text}");
    }
    assert_eq!(names(&folder), ["own.toml"], "no report of what was not measured");
}

#[apply(needs_root!)]
fn a_target_that_never_answers_is_given_up() {
    let folder = Scratch::new();
    let (code, text) = compare(
        &folder,
        &["--targets", "echo", "--target-cmd", "mute=sh -c 'echo here I am; sleep 60; true'"],
    );
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the target mute did not answer within 10 s"), "{text}");
    assert!(text.contains("here I am"), "{text}");
}

#[apply(needs_root!)]
fn what_is_not_root_is_told_so() {
    let folder = Scratch::new();
    // A directory without access for others.
    let program = within(&folder, "xblade-bench");
    fs::copy(BENCH, &program).unwrap();
    for path in [folder.path(), Path::new(&program)] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(&program);
    let text = text(command.args(["compare", "--profile", "quick"]).uid(65534).gid(65534).output().unwrap());
    assert!(text.contains("need root: run this with sudo"), "{text}");
    let mut command = Command::new(&program);
    let listed = command.args(["compare", "--list-profiles"]).uid(65534).gid(65534).output().unwrap();
    assert!(listed.status.success());
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in
        ["quick ", "latency ", "throughput ", "mixed ", "jumbo ", "boot-storm ", "durable-writes ", "soak "]
    {
        assert!(listed.contains(name), "{name}: {listed}");
    }
}

#[apply(needs_root!)]
fn an_interrupt_ends_what_a_target_has_started_too() {
    let folder = Scratch::new();
    let flag = within(&folder, "pid");
    // A child that outlives the program that started it.
    let command_line =
        format!("sh -c 'sleep 300 & echo $! >{flag}.new; mv {flag}.new {flag}; exec {}'", echo(""));
    let custom = within(&folder, "custom.toml");
    let text = "about = 'x'\ntargets = []\nrounds = 1\nseconds = 60\nbacking = '/tmp'\nmib = 1\ncase = ['read:512']\n";
    fs::write(&custom, text).unwrap();
    let mut command = Command::new(BENCH);
    command.args(["compare", "--profile", &custom, "--target-core", &target_core()]);
    command.args(["--target-cmd", &format!("parent={command_line}")]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let text = end_after(&folder, child, &[&flag]);
    assert!(text.contains("interrupted"), "{text}");
    let pid = fs::read_to_string(&flag).unwrap();
    let gone = || !Path::new("/proc").join(pid.trim()).join("cwd").exists();
    until("the target's child ends", gone);
}

/// Interrupts a comparison once its pair and these files exist.
fn end_after(folder: &Scratch, child: Child, files: &[&str]) -> String {
    let pid = child.id();
    let there = || {
        let pair = Path::new("/run/netns").join(format!("xbb-{pid}-i")).exists();
        pair && files.iter().all(|file| Path::new(file).exists())
    };
    until("the comparison begins", there);
    assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
    let (code, text) = end(folder, child);
    assert_eq!(code, Some(1), "{text}");
    text
}
