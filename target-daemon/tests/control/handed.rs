//! Descriptors that clients hand over, against the real program. It runs as a user who may open
//! none of these files.

use std::fs::{self, File, OpenOptions};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::daemon::Rig;
use crate::http::{self, Answer};
use crate::image::{Dir, pattern, sector};
use crate::process::XBLADE;
use xblade_kit::{apply, at, needs_root, until};

/// A user without any privileges.
const SOMEBODY: u32 = 65_533;

/// Sends this text, and the descriptors with its first byte.
fn send(stream: &UnixStream, text: &str, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let sent = sendmsg(stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, text.len());
}

/// Adds an export with these descriptors.
fn add(rig: &Rig, export: &str, descriptors: &[&dyn AsFd]) -> Answer {
    let body = format!(r#"{{"export": "{export}"}}"#);
    let mut stream = http::connect(&rig.socket);
    let head = format!("POST /v1/exports HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let descriptors: Vec<_> = descriptors.iter().map(|one| one.as_fd()).collect();
    send(&stream, &(head + &body), &descriptors);
    http::parse(&http::read(&mut stream))
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file that only root may open, with its path.
fn secret(dir: &Dir, name: &str, sectors: u64) -> PathBuf {
    let path = dir.image(name, sectors).path().to_owned();
    mode(&path, 0o600);
    path
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn descriptors(rig: &Rig) -> usize {
    fs::read_dir(format!("/proc/{}/fd", rig.daemon.pid())).unwrap().count()
}

#[apply(needs_root!)]
fn a_caller_exports_what_the_caller_may_open_and_no_more() {
    let mut rig = Rig::with_admins("bin");
    let bin = nix::unistd::Group::from_name("bin").unwrap().unwrap().gid.as_raw();
    let dir = Dir::new();
    let program = dir.path().join("xblade");
    fs::copy(XBLADE, &program).unwrap();
    let theirs = secret(&dir, "theirs", 8);
    // The daemon could not even enter this folder.
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    let own = home.join("own");
    fs::copy(secret(&dir, "own", 64), &own).unwrap();
    for path in [&home, &own] {
        chown(path, Some(SOMEBODY), Some(bin)).unwrap();
        mode(path, 0o700);
    }
    let run = |words: &str| -> Output {
        let (user, group) = (format!("--reuid={SOMEBODY}"), format!("--regid={bin}"));
        let mut command = Command::new("setpriv");
        command.args([&user, &group, "--clear-groups"]).arg(&program).args(words.split(' '));
        command.arg("--control").arg(&rig.socket).current_dir("/").output().unwrap()
    };
    for (options, what) in [("", "read"), (",ro", "read")] {
        let refused = run(&format!("export add 0.5={}{options}", theirs.display()));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let expected = format!(
            "/theirs: may not be {what} by the user of this process, uid {SOMEBODY} (the file has owner 0"
        );
        assert!(refused.status.code() == Some(3) && said.contains(&expected), "{said}");
    }
    // A neighbour of an export of the daemon, which the caller may read.
    let neighbour = rig.path("b");
    mode(neighbour.as_ref(), 0o644);
    let refused = run(&format!("export add 0.5={neighbour}"));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/b: may not be written"), "{refused:?}");
    let added = run(&format!("export add 0.5={}", own.display()));
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    rig.host.until_served(at(0, 5));
    rig.host.write(at(0, 5), 3, &pattern(3, 1));
    assert_eq!(rig.host.read(at(0, 5), 4, 1), sector(4));
    // It is opened again, though nobody else can open it.
    let done = run("export read-only 0.5");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let tag = rig.host.send_write(at(0, 5), 5, &pattern(5, 1));
    assert_eq!(rig.host.answer(tag).status, 0x41);
    let done = run("export read-only 0.5 --off");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    rig.host.write(at(0, 5), 5, &pattern(5, 2));
    assert_eq!(rig.host.read(at(0, 5), 3, 1), pattern(3, 1));
    // It is locked again.
    assert!(is_locked(&own));
    let before = descriptors(&rig);
    assert_eq!(run("export remove 0.5").status.code(), Some(0));
    assert!(!is_locked(&own));
    until("its descriptor is closed", || descriptors(&rig) < before);
    assert_eq!(fs::read(&own).unwrap()[5 * 512..6 * 512], pattern(5, 2));
    rig.end();
}

/// Whether another process would be refused.
fn is_locked(path: &Path) -> bool {
    let script = "import fcntl, struct, sys\n\
                  f = open(sys.argv[1], 'r+b')\n\
                  fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))";
    !Command::new("python3").args(["-c", script]).arg(path).output().unwrap().status.success()
}

#[apply(needs_root!)]
fn a_descriptor_that_is_not_what_it_should_be_is_refused() {
    let mut rig = Rig::new();
    let dir = Dir::new();
    let (file, other) = (secret(&dir, "file", 64), secret(&dir, "other", 64));
    let gone = secret(&dir, "gone", 64);
    let nameless = open(&gone);
    fs::remove_file(&gone).unwrap();
    let with = |flags: i32| OpenOptions::new().read(true).custom_flags(flags).open(&file).unwrap();
    let write_only = OpenOptions::new().write(true).open(&file).unwrap();
    let (read, _write) = std::io::pipe().unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    let null = File::open("/dev/null").unwrap();
    let folder = File::open(dir.path()).unwrap();
    let before = descriptors(&rig);
    let name = file.display().to_string();
    let rows: [(&str, &str, &dyn AsFd, &str); 10] = [
        ("", &name, &folder, "is of a directory: send one of a regular file or a block device"),
        ("", &name, &read, "is of a FIFO"),
        ("", &name, &socket, "is of a socket"),
        ("", &name, &null, "is of a character device"),
        ("", &name, &write_only, "is not open for reading"),
        ("", &name, &with(libc::O_PATH), "is not open for reading"),
        ("", &name, &with(0), "is open for reading only: remove the export and add it again as one who may"),
        ("", &name, &open(&other), "leads to another file here than the descriptor"),
        ("", gone.to_str().unwrap(), &nameless, "is of a file without a name"),
        (",length=1MiB", &name, &open(&file), "offset 0 + length 1048576 lies beyond its end"),
    ];
    for (options, path, descriptor, expected) in rows {
        let refused = add(&rig, &format!("0.5={path}{options}"), &[descriptor]);
        assert!([400, 409].contains(&refused.status), "{expected}: {refused:?}");
        assert!(refused.error().contains(expected), "{expected}: {refused:?}");
    }
    // The last connection may not be closed yet.
    until("none is kept", || descriptors(&rig) == before);
    // With more than are needed, and flags with which writes would go elsewhere.
    let appends = OpenOptions::new().read(true).append(true).open(&file).unwrap();
    let added = add(&rig, &format!("0.5={name},length=16"), &[&appends, &null, &null, &null, &null]);
    assert_eq!(added.status, 200, "{added:?}");
    rig.host.until_served(at(0, 5));
    rig.host.write(at(0, 5), 3, &pattern(3, 1));
    assert_eq!(fs::metadata(&file).unwrap().len(), 64 * 512);
    assert_eq!(fs::read(&file).unwrap()[3 * 512..4 * 512], pattern(3, 1));
    // The same description once more: locks do not tell the two apart.
    let twice = add(&rig, &format!("0.6={name},length=16"), &[&appends]);
    assert!(twice.status == 400 && twice.error().contains("is exported already, at 0.5"), "{twice:?}");
    // Another part of it is possible, and keeps its lock when the first one ends.
    let part = add(&rig, &format!("0.6={name},offset=16,length=16"), &[&appends]);
    assert_eq!(part.status, 200, "{part:?}");
    rig.good("export remove 0.5");
    assert!(is_locked(&file));
    rig.good("export remove 0.6");
    assert!(!is_locked(&file));
    // For reading only, it cannot be made writable.
    assert_eq!(add(&rig, &format!("0.5={name},ro"), &[&with(0)]).status, 200);
    let refused = http::ask(&rig.socket, "POST", "/v1/exports/0.5/read-only", r#"{"read-only": false}"#);
    assert!(refused.error().contains("is open for reading only"), "{refused:?}");
    rig.host.until_served(at(0, 5));
    assert_eq!(rig.host.read(at(0, 5), 3, 1), pattern(3, 1));
    rig.end();
}

#[apply(needs_root!)]
fn a_device_is_claimed_by_its_caller() {
    struct Loop(String);
    impl Drop for Loop {
        fn drop(&mut self) {
            let _ = Command::new("losetup").args(["--detach", &self.0]).status();
        }
    }
    let mut rig = Rig::new();
    let dir = Dir::new();
    let made =
        Command::new("losetup").args(["--find", "--show"]).arg(secret(&dir, "disk", 2048)).output().unwrap();
    let device = Loop(String::from_utf8(made.stdout).unwrap().trim().to_owned());
    let claim = || OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(&device.0);
    let held = claim().unwrap();
    let refused =
        http::ask(&rig.socket, "POST", "/v1/exports", &format!(r#"{{"export": "0.5={}"}}"#, device.0));
    assert_eq!(refused.status, 400, "{refused:?}");
    let refused = add(&rig, &format!("0.5={}", device.0), &[&open(device.0.as_ref())]);
    assert!(refused.error().contains("is in use, perhaps mounted"), "{refused:?}");
    drop(held);
    // The second descriptor has to be of the same device.
    let disk = open(&dir.path().join("disk"));
    let refused = add(&rig, &format!("0.5={}", device.0), &[&open(device.0.as_ref()), &disk]);
    assert!(refused.error().contains("is of another device"), "{refused:?}");
    // Two parts share the claim of the first.
    rig.good(&format!("export add 0.5={},length=16", device.0));
    rig.good(&format!("export add 0.6={},offset=16,length=16", device.0));
    rig.host.until_served(at(0, 6));
    rig.host.write(at(0, 6), 3, &pattern(19, 1));
    rig.good("export remove 0.5");
    assert!(claim().is_err(), "it is still used");
    for words in ["export read-only 0.6", "export read-only 0.6 --off"] {
        rig.good(words);
        assert!(claim().is_err(), "{words}");
    }
    assert_eq!(rig.host.read(at(0, 6), 3, 1), pattern(19, 1));
    rig.good("export remove 0.6");
    until("it is free", || claim().is_ok());
    rig.end();
}

#[apply(needs_root!)]
fn descriptors_without_a_request_are_closed() {
    let mut rig = Rig::new();
    let file = File::open("/dev/null").unwrap();
    let many: Vec<BorrowedFd<'_>> = vec![file.as_fd(); 16];
    rig.good("status");
    let before = descriptors(&rig);
    for round in 0..10 {
        let idle: Vec<UnixStream> = (0..100)
            .map(|n| {
                let stream = http::connect(&rig.socket);
                send(&stream, ["G", "POST /v1/exports HTTP/1.1\r\n", "\0"][n % 3], &many);
                stream
            })
            .collect();
        // Those of one connection are as many as an export needs.
        let most = before + idle.len() * 3;
        until("the connections are served", || descriptors(&rig) > before);
        assert!(descriptors(&rig) <= most, "{} of {most}", descriptors(&rig));
        rig.host.write(at(0, 1), round, &pattern(round, round));
        drop(idle);
        until("they are closed", || descriptors(&rig) == before);
    }
    // A client that stays is cut off, and its descriptors are closed.
    let stays: Vec<OwnedFd> = (0..10)
        .map(|_| {
            let stream = http::connect(&rig.socket);
            send(&stream, "POST /v1/ex", &many);
            stream.into()
        })
        .collect();
    until("all are served", || descriptors(&rig) >= before + 10);
    until("they are cut off", || descriptors(&rig) == before);
    drop(stays);
    rig.end();
}
