//! The commands, against a fake control thread.

use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::fake::Fake;
use crate::image::Dir;
use crate::process::{XBLADE, xblade};

/// A user without any privileges.
const NOBODY: u32 = 65_534;

/// The exit code, standard output, and standard error.
type Said = (i32, String, String);

fn command(socket: &Path, words: &str) -> Command {
    let mut command = xblade(words);
    command.arg("--control").arg(socket);
    command
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A relative path is resolved by the command, since the daemon runs in another folder.
#[test]
fn a_path_is_that_of_the_caller() {
    let fake = Fake::new();
    std::fs::write(fake.dir().join("disk.img"), [0; 512]).unwrap();
    let out = said(command(&fake.path, "export add 0.3=disk.img,ro").current_dir(fake.dir())).1;
    let path = fake.dir().canonicalize().unwrap().join("disk.img");
    assert!(out.contains(&format!("{path:?}")) && out.contains("with 1 descriptor(s)"), "{out}");
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
        let cut_off = ["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "HTTP/1.1 200 OK\r\n"];
        let others = ["SSH-2.0\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", ""];
        for answer in others.into_iter().chain(cut_off) {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    let words = ["status", "status", "status", "status --json", "status --json"];
    let parts = ["cannot ask", "does not understand", "cannot ask", "cannot ask", "cannot ask"];
    for (words, part) in words.into_iter().zip(parts) {
        let said = said(&mut command(&path, words));
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

/// As this user, with this group and more of them.
fn with_groups(program: &Path, socket: &Path, words: &str, gid: u32, groups: &[u32]) -> Said {
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={gid}")]);
    match groups.is_empty() {
        true => command.arg("--clear-groups"),
        false => command.arg(format!("--groups={}", groups.join(","))),
    };
    said(command.arg(program).args(words.split(' ')).arg("--control").arg(socket).current_dir("/"))
}

#[test]
fn who_may_look_may_not_change() {
    // SAFETY: takes no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("SKIPPED: needs root: who_may_look_may_not_change");
        return;
    }
    let gid = |name| nix::unistd::Group::from_name(name).unwrap().unwrap().gid.as_raw();
    let (lookers, admins) = (gid("daemon"), gid("bin"));
    let (both, one) = (Fake::of_groups(Some("daemon"), "bin"), Fake::of_groups(None, "bin"));
    let (none, program) = (Fake::of_group("daemon"), both.dir().join("xblade"));
    std::fs::copy(XBLADE, &program).unwrap();
    let changes = [
        "export resize 0.1",
        "export remove 0.1",
        "export read-only 0.1",
        "export recover 0.1 --reason x",
        "export add 0.3=x,store=null,length=8",
        "reservations --clear 0.1",
        "masks --clear 0.1",
        "reload",
        "trace --count 1",
    ];
    for (fake, remedy) in
        [(&both, "as a member of the group bin (usermod -aG bin"), (&none, "admin-group = ")]
    {
        for words in ["status", "stats", "show", "masks", "reservations", "top --once"] {
            let seen = with_groups(&program, &fake.path, words, lookers, &[]);
            assert_eq!(seen.0, 0, "{words}: {seen:?}");
        }
        for words in changes {
            let refused = with_groups(&program, &fake.path, words, lookers, &[lookers]);
            assert!(
                refused.0 == 3 && refused.2.contains("you may look, and neither change nor"),
                "{refused:?}"
            );
            assert!(refused.2.contains(remedy) && refused.2.contains("sudo"), "{refused:?}");
        }
        assert_eq!(*fake.asked.lock().unwrap(), [""; 0], "nothing reaches the control thread");
    }
    for (fake, gid, groups) in [
        (&both, lookers, &[admins][..]),
        // More than are asked for at first.
        (&both, lookers, &(1000..1200).chain([admins]).collect::<Vec<_>>()),
        (&one, admins, &[]),
        (&one, NOBODY, &[admins]),
    ] {
        for words in changes {
            let done = with_groups(&program, &fake.path, words, gid, groups);
            assert_eq!(done.0, 0, "{words} {groups:?}: {done:?}");
        }
    }
    // Who is only in the group of those who may change cannot connect, if there is another one.
    let refused = with_groups(&program, &both.path, "status", admins, &[]);
    assert!(refused.0 == 3 && refused.2.contains("as a member of the group daemon"), "{refused:?}");
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
    std::fs::copy(XBLADE, &program).unwrap();
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
