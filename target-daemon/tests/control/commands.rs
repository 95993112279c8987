//! The commands, against a fake control thread.

use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::fake::Fake;
use crate::image::Dir;

/// A user without any privileges.
const NOBODY: u32 = 65_534;

/// The exit code, standard output, and standard error.
type Said = (i32, String, String);

fn command(socket: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xblade"));
    command.args(words.split_whitespace()).arg("--control").arg(socket);
    command
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(fake: &Fake, words: &str) -> Said {
    said(&mut command(&fake.path, words))
}

#[track_caller]
fn good(fake: &Fake, words: &str) -> String {
    let (code, out, err) = run(fake, words);
    assert_eq!((code, err.as_str()), (0, ""), "{words}: {out}");
    out
}

/// Requires a line with these words in this order, with anything between them.
#[track_caller]
fn assert_line(text: &str, words: &[&str]) {
    let has = |line: &str| {
        words.iter().try_fold(line, |rest, word| rest.split_once(word).map(|(_, rest)| rest)).is_some()
    };
    assert!(text.lines().any(has), "no line with {words:?} in:\n{text}");
}

#[test]
fn json_is_that_of_the_socket() {
    let fake = Fake::new();
    for (words, uri) in [("status", "status"), ("stats", "stats"), ("show", "config")] {
        let out = good(&fake, &format!("{words} --json"));
        let expected = crate::http::get(&fake.path, &format!("/v1/{uri}")).json();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), expected, "{words}");
    }
    let out: serde_json::Value = serde_json::from_str(&good(&fake, "reservations --json")).unwrap();
    assert_eq!(out[0], serde_json::json!({"address": "0.1", "reservation": ["02:00:00:00:00:01"]}));
    let out: serde_json::Value = serde_json::from_str(&good(&fake, "masks --json")).unwrap();
    assert_eq!(out[1], serde_json::json!({"address": "0.2", "mask": []}));
    let out: serde_json::Value = serde_json::from_str(&good(&fake, "reload --json")).unwrap();
    assert_eq!(out, serde_json::json!({"changed": []}));
}

#[test]
fn show_prints_a_configuration_file() {
    let fake = Fake::new();
    let text = good(&fake, "show");
    assert_eq!(text.trim_end(), xblade::config::to_toml(&crate::sample::serve()).unwrap().trim_end());
    let loaded = xblade::config::parse("shown", &text, "");
    assert!(loaded.faults.is_empty(), "{}", loaded.faults);
    assert_eq!(loaded.serve, crate::sample::serve());
}

#[test]
fn changes_are_made_and_told() {
    let fake = Fake::new();
    let rows = [
        ("export add 0.3=/srv/y,ro", "0.3 added"),
        ("export remove 0.1", "0.1 removed"),
        ("export resize 0.1", "0.1 measured"),
        ("export read-only 0.1", "0.1 read-only"),
        ("export read-only 0.1 --off", "0.1 takes writes"),
        ("reservations --clear 0.1", "0.1 reservation cleared"),
        ("masks --clear 0.1", "0.1 mask cleared"),
    ];
    for (words, expected) in rows {
        let out = good(&fake, words);
        assert!(out.starts_with(expected), "{words}: {out}");
        assert_eq!(out.trim_end(), fake.last());
    }
    assert_eq!(good(&fake, "reload"), "nothing had to change\n");
    assert_eq!(fake.last(), "reloaded");
    assert_line(&good(&fake, "reservations"), &["0.1", "02:00:00:00:00:01"]);
    assert_line(&good(&fake, "masks"), &["EXPORT", "ONLY FOR"]);
}

/// A relative path is resolved by the command, since the daemon runs in another folder.
#[test]
fn a_path_is_that_of_the_caller() {
    let fake = Fake::new();
    let out = said(command(&fake.path, "export add 0.3=disk.img,ro").current_dir(fake.dir())).1;
    let path = fake.dir().canonicalize().unwrap().join("disk.img");
    assert!(out.contains(&format!("{path:?}")), "{out}");
}

#[test]
fn nobody_there_is_said_with_the_remedy() {
    let dir = Dir::new();
    let path = dir.path().join("xblade.sock");
    let absent = said(&mut command(&path, "status"));
    assert!(absent.0 == 3 && absent.2.contains("xblade does not run"), "{absent:?}");
    assert!(absent.2.contains(path.to_str().unwrap()) && absent.2.contains("--control"), "{absent:?}");
    drop(UnixListener::bind(&path).unwrap());
    let dead = said(&mut command(&path, "status"));
    assert!(dead.0 == 3 && dead.2.contains("xblade has exited"), "{dead:?}");
    std::fs::write(dir.path().join("file"), "x").unwrap();
    for (name, kind) in [("file", "is a file, not"), ("", "is a folder, not")] {
        let other = said(&mut command(&dir.path().join(name), "status"));
        assert!(other.0 == 2 && other.2.contains(kind) && other.2.contains("--control"), "{other:?}");
        assert!(!other.2.contains("has exited"), "{other:?}");
    }
}

#[test]
fn an_answer_that_is_none_is_said() {
    let dir = Dir::new();
    let path = dir.path().join("xblade.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || {
        for answer in ["SSH-2.0\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", ""] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    for part in ["cannot ask", "does not understand", "cannot ask"] {
        let said = said(&mut command(&path, "status"));
        assert!(said.0 == 1 && said.2.contains(part) && said.2.lines().count() == 1, "{said:?}");
    }
    other.join().unwrap();
}

#[test]
fn a_daemon_that_hangs_is_told_of() {
    let dir = Dir::new();
    let path = dir.path().join("xblade.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let before = std::time::Instant::now();
    let said = said(&mut command(&path, "status"));
    assert!(said.0 == 1 && said.2.contains("no answer within 15 s"), "{said:?}");
    assert!(before.elapsed() < Duration::from_secs(40));
}

#[test]
fn who_may_not_is_told_who_may() {
    // SAFETY: takes no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("SKIPPED: needs root: who_may_not_is_told_who_may");
        return;
    }
    let (plain, shared) = (Fake::new(), Fake::of_group("daemon"));
    let daemon = nix::unistd::Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
    // A folder that any user can reach.
    let program = plain.dir().join("xblade");
    std::fs::copy(env!("CARGO_BIN_EXE_xblade"), &program).unwrap();
    let status = |fake: &Fake, group: u32| {
        let mut command = Command::new(&program);
        said(command.args(["status", "--control"]).arg(&fake.path).current_dir("/").uid(NOBODY).gid(group))
    };
    let refused = status(&plain, NOBODY);
    let remedy = ["run this as root (sudo)", "control-group = \"xblade\"", "--control-group"];
    assert!(refused.0 == 3 && remedy.iter().all(|part| refused.2.contains(part)), "{refused:?}");
    let refused = status(&shared, NOBODY);
    assert!(refused.0 == 3 && refused.2.contains("as a member of the group daemon (usermod"), "{refused:?}");
    assert!(refused.2.contains("run this as root (sudo)"), "{refused:?}");
    let served = status(&shared, daemon);
    assert!(served.0 == 0 && served.1.contains("0.1"), "{served:?}");
}
