//! The program in place of vblade.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use xblade::wire::ether::Mac;

use crate::command_line::assert_refused;
use crate::daemon::{Daemon, xblade};
use crate::image::{Dir, pattern, sector};
use crate::initiator::{Initiator, at};
use crate::space::{OURS, PATIENCE, PEER, Pair, may_run, until};

#[test]
fn it_takes_the_arguments_of_vblade() {
    if !may_run("it_takes_the_arguments_of_vblade") {
        return;
    }
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    let arguments = format!("-b 24 -m {},020000000077 -o 8 -l 16 7 3 {OURS} {image}", host.mac);
    let link = |name: &str| {
        let link = dir.path().join(name);
        symlink(env!("CARGO_BIN_EXE_xblade"), &link).unwrap();
        let mut command = Command::new(link);
        command.args(arguments.split_whitespace());
        command
    };
    // By its own name, and by two that mean the same.
    for command in [xblade(&format!("vblade {arguments}")), link("vblade"), link("xblade-vblade")] {
        let own = host.mac;
        let daemon = Daemon::spawn(&pair.ours, command);
        daemon.wait_for("vblade without -s acknowledges writes from the page cache; xblade");
        assert!(daemon.wait_for("7.3: ").contains("durable"));
        daemon.wait_for("ready: 1 export on xbp0");
        assert_eq!(host.identify(at(7, 3)).sectors, 16);
        assert_eq!(host.read(at(7, 3), 2, 1), sector(10));
        assert_eq!(host.query(at(7, 3), PATIENCE).unwrap().1.buffer_count, 24);
        host.mac = Mac([2, 0, 0, 0, 0, 0x78]);
        host.assert_silence(at(7, 3));
        host.mac = own;
        daemon.stop().report().assert_sound();
        pair.ours.until_detached(OURS);
    }
    let daemon = Daemon::spawn(&pair.ours, xblade(&format!("vblade -rs 0 1 {OURS} {image}")));
    daemon.wait_for("ready:");
    let tag = host.send_write(at(0, 1), 1, &pattern(1, 7));
    assert_eq!(host.answer(tag).status & 1, 1, "read-only");
    let ended = daemon.stop();
    assert!(!ended.text.contains("page cache; xblade"), "{}", ended.text);
}

#[test]
fn what_vblade_would_not_take_is_refused_in_one_line() {
    if !may_run("what_vblade_would_not_take_is_refused_in_one_line") {
        return;
    }
    let pair = Pair::new();
    for (arguments, code, parts) in [
        ("", 2, &["0 words beside the options", "shelf slot netif filename"][..]),
        ("-x 0 1 xbp0 /d", 2, &["-x is not an option of vblade"]),
        ("--help", 2, &["--help is not an option of vblade", "shelf slot netif filename"]),
        ("4095 0 xbp0 /d", 2, &["Linux initiators ignore it"]),
        ("0 1 xbpnone /d", 2, &["`xbpnone` does not exist"]),
        ("0 1 xbp0 /none/d", 2, &["/none/d: no such file"]),
    ] {
        let ended = Daemon::spawn(&pair.ours, xblade(&format!("vblade {arguments}"))).ended();
        assert_refused(arguments, &ended, code, parts);
    }
}

/// The processes with a word in their command line; ended with the value.
struct Processes(String);

impl Processes {
    fn pids(&self) -> Vec<i32> {
        let all =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&self.0)
        };
        all.filter_map(|name| name.parse().ok()).filter(ours).collect()
    }

    fn signal(&self, signal: libc::c_int) {
        for pid in self.pids() {
            // SAFETY: no pointers. Nobody else has the word, the name of a
            // directory of this test.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

#[test]
fn vbladed_serves_in_the_background_and_logs() {
    if !may_run("vbladed_serves_in_the_background_and_logs") {
        return;
    }
    let (pair, dir) = (Pair::new(), Dir::new());
    dir.image("an image", 8);
    let place = dir.path().display().to_string();
    // In place of the system's log.
    let logger = dir.path().join("logger");
    fs::write(&logger, format!("#!/bin/sh\nexec cat >'{place}/log'\n")).unwrap();
    fs::set_permissions(&logger, fs::Permissions::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/vbladed");
    let processes = Processes(place.clone());
    let path = format!("{place}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new(&script);
    command.env("PATH", path).env("XBLADE", env!("CARGO_BIN_EXE_xblade")).env_remove("RUST_LOG");
    command.args(["0", "1", OURS, &format!("{place}/an image")]).arg0("vbladed");
    let status = pair.ours.run(move || command.status().unwrap());
    assert!(status.success(), "it returns at once");
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 1));
    assert_eq!(host.read(at(0, 1), 3, 1), sector(3));
    let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    until("the log has it", || log().contains("ready: 1 export on xbp0"));
    processes.signal(libc::SIGTERM);
    until("they have ended", || processes.pids().is_empty());
    pair.ours.until_detached(OURS);
    let output = Command::new(&script).args(["0", "1"]).output().unwrap();
    assert!(output.status.code() == Some(1) && output.stderr.starts_with(b"usage: vbladed"));
}
