//! The socket file: its permissions, creation and removal.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use xblade::control::{self, ControlError};

use crate::fake::Fake;
use crate::image::Dir;

#[test]
fn it_is_for_owner_and_group_and_goes_at_the_end() {
    let mut fake = Fake::new();
    let (socket, folder) =
        (fs::metadata(&fake.path).unwrap(), fs::metadata(fake.path.parent().unwrap()).unwrap());
    assert_eq!((socket.permissions().mode() & 0o777, folder.permissions().mode() & 0o777), (0o660, 0o755));
    let names: Vec<_> = fs::read_dir(fake.path.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
    fake.end_server();
    assert!(!fake.path.exists());
}

#[test]
fn the_group_is_the_one_asked_for() {
    // SAFETY: takes no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("SKIPPED: needs root");
        return;
    }
    let fake = Fake::of_group("daemon");
    let socket = fs::metadata(&fake.path).unwrap();
    let daemon = nix::unistd::Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
    assert_eq!((socket.uid(), socket.gid()), (0, daemon));
}

#[test]
fn one_that_hangs_is_somebodys() {
    let dir = Dir::new();
    let path = dir.path().join("xblade.sock");
    let hung = UnixListener::bind(&path).unwrap();
    // Nothing accepts, so the queue of connections fills.
    let mut waiting = Vec::new();
    loop {
        let flags = rustix::net::SocketFlags::NONBLOCK;
        let family = rustix::net::AddressFamily::UNIX;
        let socket = rustix::net::socket_with(family, rustix::net::SocketType::STREAM, flags, None).unwrap();
        let full = rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(&path).unwrap()).is_err();
        waiting.push(socket);
        if full {
            break;
        }
    }
    assert!(
        control::bind(&path, None, None)
            .is_err_and(|said| said.to_string().contains("another xblade has this"))
    );
    drop(hung);
}

#[test]
fn what_another_has_put_there_stays() {
    let dir = Dir::new();
    let path = dir.path().join("xblade.sock");
    fs::write(&path, "mine").unwrap();
    let said = control::bind(&path, None, None).unwrap_err();
    assert!(matches!(said, ControlError::Request(_)) && said.to_string().contains("is no socket"), "{said}");
    fs::remove_file(&path).unwrap();
    let listener = control::bind(&path, None, None).unwrap();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists(), "that of another process was removed");
    drop(other);
}

#[test]
fn what_cannot_be_says_why() {
    let dir = Dir::new();
    let said = control::bind(&dir.path().join("s"), Some("no-such-group"), None).unwrap_err();
    assert!(
        matches!(said, ControlError::Request(_))
            && said.to_string().contains("groupadd --system no-such-group"),
        "{said}"
    );
    assert!(!dir.path().join("s").exists());
    let said = control::bind(&dir.path().join("x".repeat(100)), None, None).unwrap_err();
    assert!(matches!(said, ControlError::Request(_)) && said.to_string().contains("too long"), "{said}");
    let said = control::bind("/proc/none/s".as_ref(), None, None).unwrap_err();
    assert!(matches!(said, ControlError::Machine(_)) && said.to_string().contains("/proc/none/s"), "{said}");
}
