//! `xblade top` on a socket with made-up answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Output;
use std::thread;

use xblade::control::{bind, channel, start};

use crate::daemon::xblade;
use crate::http::answer;
use crate::image::Dir;

/// A control socket that answers until the value is dropped.
fn socket(dir: &Dir) -> (PathBuf, impl Sized) {
    let (asker, asked) = channel().unwrap();
    thread::spawn(move || answer(&asked));
    let path = dir.path().join("control");
    let server = start(bind(&path, None, None).unwrap(), asker).unwrap();
    (path, server)
}

pub fn top(arguments: &str) -> Output {
    xblade(&format!("top {arguments}")).output().unwrap()
}

#[test]
fn top_prints_a_row_for_each_export() {
    let dir = Dir::new();
    let (path, _server) = socket(&dir);
    for (arguments, tables) in [("--once", 1), ("--batch 3", 3)] {
        let output = top(&format!("{arguments} --interval 0.1 --control {}", path.display()));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{text}");
        assert_eq!(text.matches("export      read/s").count(), tables, "{text}");
        for export in ["0.1 ", "7.3 "] {
            let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(export)).collect();
            assert_eq!(rows.len(), tables, "{text}");
            // The same uptime twice: rates since the start, 12.5 s ago.
            let words: Vec<&str> = rows[0].split_whitespace().collect();
            assert_eq!(words[1..3], ["0.5", "1.2"], "{text}");
            assert_eq!(words[5..9], ["90.1us", "1.51ms", "1.51ms", "9"], "{text}");
            assert_eq!(words[10..], ["3", "stuck,reserved"], "{text}");
        }
    }
}

#[test]
fn top_says_that_it_does_not_understand() {
    for body in ["{}", r#"{"up_ns": 7, "exports": [{"export": "0.1", "reads": 3}]}"#] {
        let dir = Dir::new();
        let path = dir.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        let other = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        });
        let output = top(&format!("--once --control {}", path.display()));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("does not understand") && said.contains("of the same version?"), "{said}");
        other.join().unwrap();
    }
}

#[test]
fn top_says_what_is_wrong() {
    let dir = Dir::new();
    let nobody = dir.path().join("nobody").display().to_string();
    for (arguments, code, parts) in [
        (
            format!("--once --control {nobody}"),
            3,
            ["there is no such socket: xblade does not run", "--control"],
        ),
        (format!("--once --control {}", dir.path().display()), 2, ["is a folder", "--control"]),
        ("--interval 0".to_owned(), 2, ["'0' is not a number of seconds", "take 0.1 to 3600"]),
        ("--interval soon".to_owned(), 2, ["'soon'", "0.1 to 3600"]),
        ("--batch 0".to_owned(), 2, ["--batch", "1.."]),
        ("--once --batch 2".to_owned(), 2, ["--once", "--batch"]),
        (format!("--control {nobody}"), 2, ["not a terminal", "--once"]),
    ] {
        let output = top(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments}: {said}");
    }
}
