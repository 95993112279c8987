//! What users see, word by word: help, `show`, answers of the control socket, tables,
//! metrics, messages of errors and of the log. A difference from `golden/` fails;
//! `UPDATE_GOLDENS=1` accepts it (CONTRIBUTING.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "process/daemon.rs"]
mod daemon;
#[allow(dead_code, reason = "shared with the tests of the control socket")]
#[path = "control/fake.rs"]
mod fake;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/golden.rs"]
mod golden;
#[allow(dead_code, reason = "shared with the tests of the control socket")]
#[path = "control/http.rs"]
mod http;
#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "process/image.rs"]
mod image;
#[allow(dead_code, reason = "shared with the tests of the metrics")]
#[path = "common/overview.rs"]
mod overview;
#[path = "golden/running.rs"]
mod running;
#[allow(dead_code, reason = "shared with the tests of the control socket")]
#[path = "control/sample.rs"]
mod sample;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use fake::Fake;
use golden::{Transcript, check, folder};
use image::Dir;
use xblade::config::Cli;
use xblade::control::metrics::{Format, render};

fn xblade(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xblade"));
    command.args(words.split_whitespace());
    command
}

/// One that replaces the version of the program.
fn transcript() -> Transcript {
    let mut transcript = Transcript::default();
    let version = String::from_utf8(xblade("--version").output().unwrap().stdout).unwrap();
    transcript
        .replace(version.trim().strip_prefix("xblade ").expect("its name, and the version"), "<version>");
    transcript.replace(env!("CARGO_PKG_VERSION"), "<version>");
    transcript
}

/// Every command, with the words that lead to it.
fn commands() -> Vec<(String, clap::Command)> {
    fn walk(words: &str, command: &clap::Command, found: &mut Vec<(String, clap::Command)>) {
        found.push((words.to_owned(), command.clone()));
        for inner in command.get_subcommands() {
            walk(&format!("{words} {}", inner.get_name()), inner, found);
        }
    }
    let mut found = Vec::new();
    walk("xblade", &Cli::command(), &mut found);
    found
}

#[test]
fn golden_help() {
    let mut transcript = transcript();
    for (path, _) in commands() {
        let asked = [format!("{path} -h"), format!("{path} --help")];
        for asked in asked {
            transcript.run(&asked, &mut xblade(asked.strip_prefix("xblade").unwrap()));
        }
    }
    transcript.run("xblade --version", &mut xblade("--version"));
    check("help.txt", &transcript.text);
}

#[test]
fn golden_show() {
    let (mut transcript, dir) = (transcript(), Dir::new());
    let file = dir.path().join("least.toml");
    fs::write(&file, "interfaces = ['eth1']\n[[export]]\naddress = '0.1'\npath = '/dev/vg/data'\n").unwrap();
    for (name, file) in [("everything.toml", folder().join("everything.toml")), ("least.toml", file)] {
        for json in ["", " --json"] {
            let mut command = xblade(&format!("show{json} --config"));
            transcript.run(&format!("xblade show{json} --config {name}"), command.arg(&file));
        }
    }
    for (section, keys) in xblade::config::KEYS.iter() {
        for key in keys {
            let is_there = transcript.text.contains(&format!("{key} = "))
                || transcript.text.contains(&format!("[{key}]"));
            assert!(is_there || *key == "acl", "everything.toml has no {key} of {section}");
        }
    }
    check("show.txt", &transcript.text);
}

/// Command lines that are refused before anything is looked at. `%` is a folder in
/// which there are `a`, a folder `folder`, and `bad.toml`, in which is a mistake.
const MISTAKES: &[&str] = &[
    "",
    "sarve",
    "--verbose",
    "serve",
    "serve 0.1=%/a",
    "serve 4095.0=%/a -i xbp0",
    "serve 65535.0=%/a -i xbp0",
    "serve 0.255=%/a -i xbp0",
    "serve %/a -i xbp0",
    "serve 0.1=%/a,rw -i xbp0",
    "serve 0.1=%/a,readonly -i xbp0",
    "serve e0.1=%/a -i xbp0",
    "serve 0 1 xbp0 %/a",
    "serve 0.1=%/a --netif xbp0",
    "serve 0.1=%/a xbp0",
    "serve 0.1=%/a, ro -i xbp0",
    "serve 0.1 %/a -i xbp0",
    "serve x.toml",
    "serve 0.1=%/a -i xbp0 --metrics 9464",
    "serve 0.1=%/a -i xbp0 --metrics here",
    "serve 0.1=x,store=null -i xbp0",
    "serve 0.1=%/a,store=fast -i xbp0",
    "serve 0.1=%/a,sync=often -i xbp0",
    "serve 0.1=%/a,trim=maybe -i xbp0",
    "serve 0.1=%/a,ro,ro -i xbp0",
    "serve 0.1=%/a,worker=x -i xbp0",
    "serve 0.1=%/a,length=1.5G -i xbp0",
    "serve 0.1=%/a,offset=100B -i xbp0",
    "serve 0.1=%/a,length=0 -i xbp0",
    "serve 0.1=%/a,length=999999P -i xbp0",
    "serve 0.1=%/a,pin -i xbp0",
    "serve 0.1=%/a,ro,trim=on -i xbp0",
    "serve 0.1=%/a,store=mmap,sync=each -i xbp0",
    "serve 0.1=%/a,durability=maybe -i xbp0",
    "serve 0.1=%/a -i xbp0 --buffer-count 1",
    "serve 0.1=%/a -i xbp0 --buffer-count 65536",
    "serve 0.1=%/a -i xbp0 --initiators 0",
    "serve 0.1=%/a -i xbp0 --allow 52:54:00",
    "serve 0.1=%/a -i xbp0 --allow 52:54:00:00:00:zz",
    "serve 0.1=%/a -i xbp0 --xdp-mode fast",
    "serve 0.1=%/a -i xbp0 --cores two",
    "serve 0.1=%/a -i xbp0 --busy-poll-budget 8",
    "serve 0.1=%/a --config %/a",
    "serve --config %/a -i xbp0",
    "serve --config %/none.toml",
    "serve --config %/bad.toml",
    "check --config %/none.toml",
    "check 0.1=%/a",
    "show --config %/none.toml",
    "show --config %/bad.toml",
    "show --json --config %/bad.toml",
    "show --control %/none",
    "steer",
    "steer -i xbp0",
    "steer -i xbp0 --plan --apply",
    "steer -i xbp0 --revert --queue 1",
    "steer -i xbp0 --apply --queue 1 --queues 1,2",
    "steer -i xbp0 --apply --queue x",
    "steer -i xbp0 --apply --from 52:54:00",
    "tune",
    "tune -i xbp0 --plan --apply",
    "tune -i xbp0 --cores two",
    "tune -i xbp0 --ring x",
    "top --interval 0",
    "top --interval soon",
    "top --batch 0",
    "top --once --batch 2",
    "top --once --control %/none",
    "top --once --control %/folder",
    "top --control %/none",
    "trace --every 0",
    "trace --count 0",
    "trace --export 0",
    "trace --pcap - --json",
    "trace --pcap - --every 1",
    "trace --control %/none",
    "status --control %/none",
    "status --control %/dead",
    "status --control %/a",
    "status --control %/folder",
    "status --json --control %/none",
    "stats --control %/none",
    "reload --control %/none",
    "export",
    "export add",
    "export add 0.3=",
    "export add 0.3=/srv/y,rw",
    "export remove 4095.0",
    "export recover 0.1",
    "reservations --clear x",
    "masks --clear 0",
    "masks --refuse",
    "serve 0.1=/d -i eth1 --host-settings deny",
    "serve 0.1=/d,host-settings=deny -i eth1",
    "serve 0.1=/d,host-setting=allow -i eth1",
    "import",
    "import vblade /none/vblade.conf",
    "import vblade /dev/null",
    "vblade",
    "vblade --help",
    "vblade -x 0 1 xbp0 /d",
    "vblade -b",
    "vblade -b 0 0 1 xbp0 /d",
    "vblade -m 52:54:00 0 1 xbp0 /d",
    "vblade -r xbp0 6 1 a.img",
    "vblade 4095 0 xbp0 /d",
];

#[test]
fn golden_mistakes_on_the_command_line() {
    let (mut transcript, dir) = (transcript(), Dir::new());
    let folder = dir.path().display().to_string();
    fs::write(dir.path().join("a"), "not a configuration\n").unwrap();
    fs::write(dir.path().join("bad.toml"), "interfaces = ['eth1']\n[[export]]\nadress = '0.1'\n").unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    drop(UnixListener::bind(dir.path().join("dead")).unwrap());
    transcript.replace(&folder, "%");
    for words in MISTAKES {
        transcript.run(&format!("xblade {words}"), &mut xblade(&words.replace('%', &folder)));
    }
    check("mistakes.txt", &transcript.text);
}

/// Requests to a control socket: the first two words are method and path, the rest is the
/// body.
const REQUESTS: &[&str] = &[
    "GET /v1/status",
    "GET /v1/stats",
    "GET /v1/samples",
    "GET /v1/exports",
    "GET /v1/exports/0.1",
    "GET /v1/exports/0.1/reservation",
    "GET /v1/exports/0.1/mask",
    "GET /v1/exports/0.1/config",
    "GET /v1/config",
    "DELETE /v1/exports/0.1",
    "DELETE /v1/exports/0.1?force=true",
    "DELETE /v1/exports/0.1/reservation",
    "DELETE /v1/exports/0.1/mask?refuse=true",
    "DELETE /v1/exports/0.1/mask?force=true",
    "DELETE /v1/exports/0.1/config",
    "POST /v1/exports/0.1/read-only {\"read-only\": true}",
    "POST /v1/exports/0.1/read-only {\"read-only\": false}",
    "POST /v1/exports/0.1/resize",
    "POST /v1/exports/0.1/recover {\"reason\": \"a new disk\"}",
    "POST /v1/reload",
    "POST /v1/reload?force=true",
    // Refused.
    "POST /v1/exports {\"export\": \"0.1=/srv/y\"}",
    "POST /v1/exports {\"export\": ",
    "POST /v1/exports",
    "POST /v1/exports \u{0}\u{1}",
    "POST /v1/exports {\"address\": \"0.3\", \"path\": \"srv\"}",
    "POST /v1/exports {\"address\": \"0.3\", \"path\": \"/srv/y\", \"read-onyl\": true}",
    "POST /v1/exports/0.1/read-only {\"read-only\": \"yes\"}",
    "POST /v1/exports/0.1/recover",
    "POST /v1/exports/0.1/recover {\"reason\": \"\"}",
    "POST /v1/reload?dry-run=true&force=true",
    "POST /v1/reload?force=please",
    "DELETE /v1/exports/0.9",
    "DELETE /v1/exports/0.2",
    "GET /v1/exports/0.9",
    "GET /v1/exports/0.9/mask",
    "GET /v1/exports/4095.0",
    "GET /v1/exports/%ff",
    "DELETE /v1/exports/x",
    "GET /v1/trace?every=0",
    "GET /v1/trace?often=1",
    "GET /",
    "GET /v1",
    "GET /v2/status",
    "GET /v1/status/",
    "GET /v1/../../etc/passwd",
    "POST /v1/status",
    "DELETE /v1/exports",
    "GET /v1/reload",
    "PUT /v1/exports/0.1",
    "BREW /v1/exports/0.1",
];

/// One that replaces what only this process has.
fn of_this_process(dir: &Path) -> Transcript {
    let mut transcript = transcript();
    transcript.replace(dir.display(), "<dir>");
    for pid in ["process ", "\"pid\": ", "\"pid\":"] {
        transcript.replace(format!("{pid}{}", std::process::id()), &format!("{pid}<pid>"));
    }
    transcript
}

#[test]
fn golden_control_socket() {
    let few = Fake::new();
    let mut transcript = of_this_process(few.dir());
    let mut ask = |fake: &Fake, title: &str, request: &str| {
        let mut words = request.splitn(3, ' ');
        let [method, path, body] = [(); 3].map(|()| words.next().unwrap_or_default());
        let answer = http::ask(&fake.path, method, path, body);
        let kind = answer.head.lines().find(|line| line.starts_with("content-type: ")).unwrap_or_default();
        // The samples come in one line.
        let body = answer.body.replace(",\"", ",\n\"");
        transcript.add(title, &format!("{} {kind}\n{body}", answer.status));
    };
    for request in REQUESTS {
        ask(&few, &request.escape_debug().to_string().replace("\\\"", "\""), request);
    }
    let full = Fake::of(overview::overview);
    for request in ["GET /v1/status", "GET /v1/stats", "GET /v1/samples"] {
        ask(&full, &format!("{request}, everything counted"), request);
    }
    let mut ended = Fake::new();
    ended.end_control_thread();
    ask(&ended, "GET /v1/status, at the end", "GET /v1/status");
    check("control.txt", &transcript.text);
}

#[test]
fn golden_commands_that_ask() {
    let (few, full) = (Fake::new(), Fake::of(overview::overview));
    let mut transcript = of_this_process(few.dir());
    transcript.replace(full.dir().display(), "<dir>");
    let mut run = |fake: &Fake, title: &str, words: &str| {
        transcript.run(title, xblade(words).arg("--control").arg(&fake.path));
    };
    for words in [
        "status",
        "status --json",
        "stats",
        "stats --json",
        "show",
        "show --json",
        "config-strings",
        "config-strings --json",
        "config-strings --clear 0.1",
        "reservations",
        "reservations --json",
        "reservations --clear 0.1",
        "masks",
        "masks --json",
        "masks --clear 0.1",
        "export remove 0.1",
        "export remove 0.1 --json",
        "export remove 0.1 --force",
        "export resize 0.1",
        "export resize 0.1 --json",
        "export recover 0.1 --reason mended",
        "export recover 0.1 --reason mended --json",
        "export read-only 0.1",
        "export read-only 0.1 --json",
        "export read-only 0.1 --off",
        "reload",
        "reload --force",
        "reload --json",
        "reload --dry-run",
        "trace --count 2",
        "trace --json --every 1 --dropped --count 2",
        "top --once --interval 0.1",
        "export add 0.1=x,store=null,length=8",
        "export remove 0.9",
        "export resize 0.2",
        "masks --clear 0.9",
    ] {
        run(&few, &format!("xblade {words}"), words);
    }
    let pcap = few.dir().join("dropped.pcap").display().to_string();
    run(&few, "xblade trace --pcap dropped.pcap", &format!("trace --count 1 --pcap {pcap}"));
    let pcap = few.dir().join("no/such/folder").display().to_string();
    run(&few, "xblade trace --pcap no/such/folder", &format!("trace --count 1 --pcap {pcap}"));
    for words in ["status", "stats", "top --once --interval 0.1", "reservations", "masks"] {
        run(&full, &format!("xblade {words}, everything counted"), words);
    }
    check("commands.txt", &transcript.text);
}

#[test]
fn golden_metrics() {
    let mut transcript = Transcript::default();
    let text = render(&overview::overview(), Format::OpenMetrics);
    transcript.add("OpenMetrics", &text);
    let other = render(&overview::overview(), Format::Prometheus);
    let others: Vec<&str> = other.lines().filter(|line| !text.lines().any(|known| known == *line)).collect();
    transcript.add("Prometheus, what differs", &others.join("\n"));
    check("metrics.txt", &transcript.text);
}

/// Names of the files that a folder has, with this ending.
fn files(folder: &Path, ending: &str) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

#[test]
fn each_golden_belongs_to_a_test() {
    fn sources(folder: &Path, found: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => sources(&path, found),
                Some(ending) if ending == "rs" => *found += &fs::read_to_string(path).unwrap(),
                _ => {}
            }
        }
    }
    if golden::are_updated() {
        return;
    }
    let mut text = String::new();
    for folder in ["src", "tests"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut text);
    }
    let goldens = files(&folder(), "");
    assert!(goldens.len() > 8, "{goldens:?}");
    for name in goldens.iter().filter(|name| !name.ends_with(".rs")) {
        assert!(text.contains(&format!("\"{name}\"")), "no test names tests/golden/{name}: remove it");
    }
}

/// A command without one would be free to change; so would its JSON, and a path of the
/// control socket.
#[test]
fn every_command_and_path_has_a_golden() {
    if golden::are_updated() {
        return;
    }
    let goldens = files(&folder(), ".txt");
    let text: String =
        goldens.iter().map(|name| fs::read_to_string(folder().join(name)).unwrap() + "\n").collect();
    let titles: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    for (path, command) in commands().iter().filter(|(_, command)| !command.has_subcommands()) {
        let is_help = |title: &str| title.ends_with(" -h") || title.ends_with(" --help");
        let runs = |part: &str| {
            let mut of_it =
                titles.iter().filter(|title| format!("{title} ").starts_with(&format!("{path} ")));
            of_it.any(|title| title.contains(part) && !is_help(title))
        };
        assert!(runs(""), "no golden of {path}");
        let has_json = command.get_arguments().any(|argument| argument.get_id() == "json");
        assert!(!has_json || runs("--json"), "no golden of {path} --json");
    }
    let document = include_str!("../../docs/CONTROL.md");
    let paths = document.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(" `/"));
    let mut count = 0;
    for (methods, rest) in paths {
        let path = rest.split('`').next().unwrap();
        // Its golden is docs/openapi.json (tests/control/openapi.rs).
        if path == "v1/openapi.json" {
            continue;
        }
        for method in methods.split(", ") {
            let request = format!("{method} /{path}");
            assert!(titles.iter().any(|title| title.starts_with(&request)), "no golden of {request}");
            count += 1;
        }
    }
    assert!(count > 12, "docs/CONTROL.md has another form: {count} paths");
}
