//! The program in place of vblade. Each call has its own address, which gives its control
//! socket a unique name in a directory that all tests share.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use xblade::wire::ether::Mac;

use crate::command_line::assert_refused;
use crate::daemon::{Record, XBLADE, serving, xblade};
use crate::image::{Dir, pattern, sector};
use xblade_kit::{Daemon, Initiator, OURS, PATIENCE, PEER, Pair, Space, apply, at, needs_root, until};

#[apply(needs_root!)]
fn it_takes_the_arguments_of_vblade() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let _records = [Record::new("7.3"), Record::new("7.4")];
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    let arguments = format!("-b 24 -m {},020000000077 -o 8 -l 16 7 3 {OURS} {image}", host.mac);
    let link = |name: &str| {
        let link = dir.path().join(name);
        symlink(XBLADE, &link).unwrap();
        let mut command = Command::new(link);
        command.args(arguments.split_whitespace());
        command
    };
    // With its own name, and with two equivalent ones.
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
    let daemon = Daemon::spawn(&pair.ours, xblade(&format!("vblade -rs 7 4 {OURS} {image}")));
    daemon.wait_for("ready:");
    let tag = host.send_write(at(7, 4), 1, &pattern(1, 7));
    assert_eq!(host.answer(tag).status & 1, 1, "read-only");
    let ended = daemon.stop();
    assert!(!ended.text.contains("page cache; xblade"), "{}", ended.text);
}

#[apply(needs_root!)]
fn what_vblade_would_not_take_is_refused() {
    let pair = Pair::new();
    for (arguments, code, parts) in [
        ("", 2, &["<shelf> <slot> <netif> <filename>"][..]),
        ("-x 0 1 xbp0 /d", 2, &["unexpected argument '-x' found"]),
        ("-r xbp0 6 1 a.img", 2, &["invalid value 'xbp0' for '<shelf>': the order is shelf"]),
        ("4095 0 xbp0 /d", 2, &["Linux initiators ignore it"]),
        ("6 1 xbpnone /d", 3, &["`xbpnone` does not exist"]),
        ("6 1 xbp0 /none/d", 3, &["/none/d: no such file"]),
    ] {
        let ended = Daemon::spawn(&pair.ours, xblade(&format!("vblade {arguments}"))).ended();
        assert_refused(arguments, &ended, code, parts);
    }
}

/// The processes with this word in their command line, killed on drop.
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
            // SAFETY: no pointers. Only processes of this test have the word, the name of
            // its directory.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

/// `vbladed` in a directory with a replacement for `logger`, the program that writes to the
/// system log.
struct Vbladed {
    place: String,
    processes: Processes,
}

impl Vbladed {
    fn new(dir: &Dir) -> Self {
        let place = dir.path().display().to_string();
        let logger = dir.path().join("logger");
        // With arguments after `--`: one log line.
        let text = format!("#!/bin/sh\n{{ [ $# -gt 2 ] && echo \"$4\" || exec cat; }} >>'{place}/log'\n");
        fs::write(&logger, text).unwrap();
        fs::set_permissions(&logger, fs::Permissions::from_mode(0o755)).unwrap();
        // All processes that it starts have the directory in their command line, or end
        // with one that has.
        Self { processes: Processes(place.clone()), place }
    }

    fn start(&self, space: &Space, level: Option<&str>, arguments: &[&str]) -> Output {
        self.start_by(XBLADE, space, level, arguments)
    }

    fn start_by(&self, program: &str, space: &Space, level: Option<&str>, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/vbladed");
        let path = format!("{}:{}", self.place, std::env::var("PATH").unwrap());
        let mut command = Command::new(script);
        command.env("PATH", path).env("XBLADE", program).env_remove("RUST_LOG");
        command.envs(level.map(|level| ("RUST_LOG", level))).args(arguments);
        space.run(move || command.output().unwrap())
    }

    fn log(&self) -> String {
        fs::read_to_string(format!("{}/log", self.place)).unwrap_or_default()
    }

    fn until_ended(&self) {
        until("they have ended", || self.processes.pids().is_empty());
    }
}

#[apply(needs_root!)]
fn vbladed_serves_in_the_background_and_logs() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("an image", 8).to_string();
    let _record = Record::new("0.1");
    let vbladed = Vbladed::new(&dir);
    // Also if the line that it waits for would not be logged.
    for level in [None, Some("warn/nothing")] {
        let started = vbladed.start(&pair.ours, level, &["0", "1", OURS, &image]);
        assert!(started.status.success() && started.stderr.is_empty(), "{started:?}: {}", vbladed.log());
        // It is ready, and all of its output is in the log, in order.
        let log = vbladed.log();
        assert!(log.lines().last().unwrap().contains("] ready: 1 export on xbp0"), "{log}");
        assert_eq!(log.contains("0.1: "), level.is_none(), "{log}");
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        assert_eq!(host.read(at(0, 1), 3, 1), sector(3));
        vbladed.processes.signal(libc::SIGTERM);
        vbladed.until_ended();
        pair.ours.until_detached(OURS);
        fs::remove_file(dir.path().join("log")).unwrap();
    }
    // Ready, except for the link.
    pair.peer.sh(&format!("ip link set {PEER} down"));
    let started = vbladed.start(&pair.ours, None, &["0", "1", OURS, &image]);
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(started.status.success() && said.starts_with("vbladed: the link is down: "), "{said}");
    vbladed.processes.signal(libc::SIGTERM);
    vbladed.until_ended();
}

#[apply(needs_root!)]
fn vbladed_says_why_nothing_is_served() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let (a, b) = (dir.image("a", 8).to_string(), dir.image("b", 8).to_string());
    let vbladed = Vbladed::new(&dir);
    let refused = |arguments: &[&str], code, part: &str| {
        let Output { status, stderr, .. } = vbladed.start(&pair.ours, None, arguments);
        let said = String::from_utf8(stderr).unwrap();
        assert!(status.code() == Some(code) && said.contains(part), "{status}, {said}");
        said
    };
    for (arguments, code, part) in [
        (["5", "1", OURS, &format!("{a}.none")], 3, "/a.none: no such file"),
        (["5", "1", "xbpnone", &a], 3, "`xbpnone` does not exist"),
        (["4095", "1", OURS, &a], 2, "shelf 4095"),
    ] {
        let said = refused(&arguments, code, part);
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
        vbladed.until_ended();
        let log = vbladed.log();
        assert!(log.contains(&said) && log.ends_with(&format!("exit code {code}\n")), "{log}");
        fs::remove_file(dir.path().join("log")).unwrap();
    }
    let first = serving(&pair.ours, &format!("0.1={a} -i {OURS}"));
    let said = refused(&["5", "2", OURS, &b], 3, "`xbp0` is served by another xblade");
    assert!(said.starts_with("error: "), "{said}");
    first.stop();
    vbladed.until_ended();
    // A killed xblade logs nothing.
    let ended = dir.path().join("ended");
    fs::write(&ended, "#!/bin/sh\nkill -9 $$\n").unwrap();
    fs::set_permissions(&ended, fs::Permissions::from_mode(0o755)).unwrap();
    let output = vbladed.start_by(&ended.display().to_string(), &pair.ours, None, &["0", "1", OURS, &a]);
    assert_eq!(output.status.code(), Some(137));
    assert_eq!(output.stderr, b"vbladed: xblade has ended: `journalctl -t vbladed` tells why\n");
    assert!(refused(&["0", "1"], 1, "usage: vbladed").starts_with("usage"));
}
