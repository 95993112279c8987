//! What `xblade serve` may still do while it serves, tried from inside: a test build acts
//! like an intruder (`XBLADE_ATTEMPT`), or omits a step of dropping privileges
//! (`XBLADE_LEFT_OUT`), which the tests must detect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use xblade_kit::{Daemon, Ended, OURS, PEER, PacketSocket, Pair, Space, apply, may_run, needs_root};

use xblade_tests::frame::{ATA, Ask, QUERY, ata, ata_done, query, query_done};
use xblade_tests::{HOST, Scratch, pair, pattern, serve};

const EXPORT: (u16, u8) = (0, 1);
const SECTORS: usize = 64;

/// The kernel's error for a call that is on no list.
const NOT_PERMITTED: &str = "(os error 1)";
/// The kernel's error for a file that Landlock blocks.
const DENIED: &str = "(os error 13)";
const DONE: &str = ": done";
/// The kernel's error for a descriptor that is no socket, if no filter refuses the call.
const NO_SOCKET: &str = "(os error 88)";
/// Sockets, and ways to reach others through one: none is left to any thread.
const SOCKETS: [&str; 12] = [
    "udp",
    "tcp",
    "vsock",
    "packet",
    "unix",
    "unix-stream",
    "uevents",
    "pair",
    "connect",
    "send-to",
    "send-far",
    "send-message",
];

struct Rig {
    pair: Pair,
    socket: PacketSocket,
    images: Scratch,
    state: Scratch,
    other: Scratch,
}

impl Rig {
    fn new() -> Self {
        let pair = pair(Space::new(), 1500);
        let socket = PacketSocket::within(&pair.peer, PEER).expect("a raw socket");
        let rig = Self { pair, socket, images: Scratch::new(), state: Scratch::new(), other: Scratch::new() };
        // Nothing but the sandbox keeps its user from them.
        for path in [
            rig.images.file("a", &pattern(1, 0, SECTORS)),
            rig.images.file("neighbour", &pattern(2, 0, SECTORS)),
            rig.other.file("secret", b"secret"),
            rig.state.file("kept.state", b"kept"),
        ] {
            open_to_all(&path);
        }
        open_to_all(rig.images.path());
        rig
    }

    fn start(&self, environment: &[(&str, &str)], more: &[&str]) -> Daemon {
        let image = self.images.path().join("a");
        let state = self.state.path().display().to_string();
        let mut arguments = vec![format!("0.1={}", image.display())];
        arguments.extend(["--interface", OURS, "--no-probe"].map(str::to_owned));
        arguments.extend(["--host-settings", "allow"].map(str::to_owned));
        if !more.contains(&"--state") {
            arguments.extend(["--state".to_owned(), state]);
        }
        arguments.extend(more.iter().map(|text| (*text).to_owned()));
        serve(&self.pair.ours, &arguments, environment)
    }

    /// As [`Self::start`], and waits until it is ready.
    fn serve(&self, environment: &[(&str, &str)], more: &[&str]) -> Daemon {
        let daemon = self.start(environment, more);
        daemon.wait_for("ready:");
        daemon
    }

    fn attempt(&self, what: &str, path: &Path, more: &[&str]) -> Daemon {
        let path = path.display().to_string();
        let call = what.split(':').nth(1).map_or_else(String::new, call);
        let call = ("XBLADE_ATTEMPT_CALL", call.as_str());
        self.start(&[("XBLADE_ATTEMPT", what), ("XBLADE_ATTEMPT_PATH", &path), call], more)
    }

    /// Writes a sector and reads it back, to show that it serves.
    fn assert_serves(&self, daemon: &mut Daemon, tag: u32) {
        let bytes = pattern(tag as u8, 7, 1);
        // To stable storage.
        self.expect(daemon, tag * 2 + 1, ata(0x34, 7, 1, &bytes), &[]);
        self.expect(daemon, tag * 2 + 2, ata(0x24, 7, 1, &[]), &bytes);
    }

    fn expect(&self, daemon: &mut Daemon, tag: u32, argument: Vec<u8>, data: &[u8]) {
        let ask = Ask { tag, ..Ask::new(EXPORT, ATA, argument) }.from(HOST);
        let expected = ask.reply(EXPORT, &ata_done(&ask.argument, 0x40, 0, data));
        self.expect_reply(daemon, &ask, &expected);
    }

    fn expect_reply(&self, daemon: &mut Daemon, ask: &Ask, expected: &[u8]) {
        for _ in 0..20 {
            self.socket.send(&ask.bytes()).expect("a frame");
            while let Some(reply) = self.socket.receive(Duration::from_millis(250)).expect("a link") {
                if reply.get(20..24) == Some(&ask.tag.to_be_bytes()[..]) {
                    assert!(reply == expected, "{reply:02x?}, not {expected:02x?}");
                    return;
                }
            }
            assert!(daemon.is_running(), "xblade ended");
        }
        panic!("no answer");
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

/// The system call of an attempt; empty if it is none.
fn call(what: &str) -> String {
    let at = |flags: i32| (libc::SYS_openat, format!("{} path {flags} 438", libc::AT_FDCWD));
    let socket = |family, kind: i32| (libc::SYS_socket, format!("{family} {kind} 0"));
    // Of descriptor 0, which is no socket: a filter refuses before the kernel looks at it.
    let send = |to| (libc::SYS_sendto, format!("0 memory 1 0 {to} 16"));
    let (number, arguments) = match what {
        "open" => at(libc::O_RDONLY),
        "write" => at(libc::O_WRONLY),
        "create" => at(libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC),
        "remove" => (libc::SYS_unlinkat, format!("{} path 0", libc::AT_FDCWD)),
        "udp" => socket(libc::AF_INET, libc::SOCK_DGRAM),
        "packet" => socket(libc::AF_PACKET, libc::SOCK_RAW),
        "tcp" => socket(libc::AF_INET, libc::SOCK_STREAM),
        "vsock" => socket(libc::AF_VSOCK, libc::SOCK_STREAM),
        "unix" => socket(libc::AF_UNIX, libc::SOCK_DGRAM),
        "unix-stream" => socket(libc::AF_UNIX, libc::SOCK_STREAM),
        "uevents" => (libc::SYS_socket, format!("{} {} 15", libc::AF_NETLINK, libc::SOCK_RAW)),
        "pair" => (libc::SYS_socketpair, format!("{} {} 0 memory", libc::AF_UNIX, libc::SOCK_DGRAM)),
        "connect" => (libc::SYS_connect, "0 memory 16".into()),
        "send-to" => send("memory"),
        // Its lower 32 bits are zero.
        "send-far" => send("4294967296"),
        "send" => (libc::SYS_sendto, "0 memory 1 0 0 0".into()),
        "send-message" => (libc::SYS_sendmsg, "0 memory 0".into()),
        "receive" => (libc::SYS_recvmsg, "0 memory 0".into()),
        "stat" => (libc::SYS_newfstatat, format!("{} path memory 0", libc::AT_FDCWD)),
        "map" => (libc::SYS_bpf, "1 memory 32".into()),
        "kick" => (libc::SYS_io_uring_enter, "0 1 0 0 0 0".into()),
        "setuid" => (libc::SYS_setresuid, "0 0 0".into()),
        "exec" => (libc::SYS_execve, "path 0 0".into()),
        "ptrace" => (libc::SYS_ptrace, libc::PTRACE_TRACEME.to_string()),
        "mount" => (libc::SYS_mount, format!("0 path 0 {}", libc::MS_REC)),
        "unshare" => (libc::SYS_unshare, libc::CLONE_NEWUSER.to_string()),
        "module" => (libc::SYS_finit_module, "-1 path 0".into()),
        "ring" => (libc::SYS_io_uring_setup, "8 memory".into()),
        "bpf" => (libc::SYS_bpf, "5 memory 8".into()),
        // The first process of the machine.
        "kill" => (libc::SYS_kill, "1 0".into()),
        "executable" => {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            (libc::SYS_mmap, format!("0 4096 {} {flags} -1 0", libc::PROT_READ | libc::PROT_EXEC))
        }
        "fork" => (libc::SYS_clone, libc::SIGCHLD.to_string()),
        _ => return String::new(),
    };
    format!("{number} {arguments}")
}

/// `/proc/PID/task/*/status` of a process: the lines of each thread.
fn threads(daemon: &Daemon) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
    let split = |text: String| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    };
    texts.map(split).collect()
}

/// Rights that some thread has and should not have.
fn faults(daemon: &Daemon) -> Vec<String> {
    const NONE: &str = "0000000000000000";
    let mut faults = Vec::new();
    let threads = threads(daemon);
    for thread in &threads {
        let is_first = thread["Name"] == "xblade";
        // Three of all threads, and one that each but the first installs itself.
        let filters = if is_first { "3" } else { "4" };
        for (line, expected) in [
            ("CapEff", NONE),
            ("CapPrm", NONE),
            ("CapInh", NONE),
            ("CapAmb", NONE),
            ("CapBnd", NONE),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
            ("Seccomp_filters", filters),
        ] {
            if thread[line] != expected {
                faults.push(format!("{}: {line} is {}, not {expected}", thread["Name"], thread[line]));
            }
        }
    }
    for name in ["worker-0", "state-writer"] {
        assert!(threads.iter().any(|thread| thread["Name"] == name), "{name}: {threads:?}");
    }
    faults.extend(core_faults(daemon));
    faults
}

/// Whether the process could leave its memory in a core file.
fn core_faults(daemon: &Daemon) -> Option<String> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    // The soft and the hard limit.
    let limits: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    (limits != ["0", "0"]).then(|| format!("xblade: Core is {limits:?}"))
}

#[apply(needs_root!)]
fn no_thread_keeps_what_serving_does_not_need() {
    let rig = Rig::new();
    let mut daemon = rig.serve(&[], &[]);
    rig.assert_serves(&mut daemon, 1);
    assert_eq!(faults(&daemon), [""; 0]);
    assert_eq!(daemon.log().matches("sandbox").count(), 1, "{}", daemon.log());
    assert!(daemon.log().contains("sandbox: no capabilities, "), "{}", daemon.log());
    daemon.stop();
}

#[apply(needs_root!)]
fn a_step_that_is_left_out_is_noticed() {
    let rig = Rig::new();
    for (step, line) in [
        ("no_new_privs", "NoNewPrivs"),
        ("capabilities", "CapEff"),
        ("bounding", "CapBnd"),
        ("limits", "Core"),
        ("seccomp", "Seccomp"),
        ("seccomp-of-threads", "Seccomp_filters"),
    ] {
        // Another user has no capabilities in any case.
        let daemon = rig.serve(&[("XBLADE_LEFT_OUT", step)], &["--user", "root"]);
        let faults = faults(&daemon);
        assert!(faults.iter().any(|fault| fault.contains(&format!(": {line} is"))), "{step}: {faults:?}");
    }
    for (left_out, what, outcome) in [("seccomp", "unix", DONE), ("seccomp", "send-to", NO_SOCKET)] {
        let call = call(what);
        let attempt = format!("control:{what}");
        let environment = [
            ("XBLADE_LEFT_OUT", left_out),
            ("XBLADE_ATTEMPT", attempt.as_str()),
            ("XBLADE_ATTEMPT_CALL", &call),
        ];
        let daemon = rig.serve(&environment, &[]);
        assert!(daemon.log().contains(outcome), "{what}: {}", daemon.log());
    }
    let secret = rig.other.path().join("secret");
    let secret = secret.to_str().unwrap();
    for (left_out, outcome) in [("", DENIED), ("landlock", DONE)] {
        let environment = [
            ("XBLADE_LEFT_OUT", left_out),
            ("XBLADE_ATTEMPT", "control:open"),
            ("XBLADE_ATTEMPT_CALL", &call("open")),
            ("XBLADE_ATTEMPT_PATH", secret),
        ];
        let daemon = rig.serve(&environment, &[]);
        assert!(daemon.log().contains(outcome), "{left_out}: {}", daemon.log());
    }
}

#[apply(needs_root!)]
fn the_sandbox_can_be_switched_off_with_one_warning() {
    let rig = Rig::new();
    let mut daemon = rig.serve(&[], &["--sandbox", "off"]);
    rig.assert_serves(&mut daemon, 1);
    let said = daemon.log();
    assert_eq!(said.matches("the sandbox is off").count(), 1, "{said}");
    assert!(said.lines().any(|line| line.contains("WARN") && line.contains("the sandbox is off")), "{said}");
    for thread in threads(&daemon) {
        assert_eq!(thread["Seccomp"], "0", "{}", thread["Name"]);
        assert_ne!(thread["CapEff"], "0000000000000000", "{}", thread["Name"]);
    }
}

/// Tries each of these, and checks that the outcome is logged and that the daemon continues
/// to serve.
fn assert_outcomes(test: &str, attempts: &[(&str, PathBuf, &str)], rig: &Rig, more: &[&str]) {
    for (tag, (what, path, outcome)) in attempts.iter().enumerate() {
        let mut daemon = rig.attempt(what, path, more);
        daemon.wait_for("ready:");
        daemon.wait_for(&format!("attempt {what} by"));
        let said = daemon.log();
        let line = said.lines().find(|line| line.contains("attempt")).unwrap();
        assert!(line.contains(outcome), "{test}: {} should be {outcome}: {line}", path.display());
        rig.assert_serves(&mut daemon, tag as u32);
        daemon.stop();
    }
}

fn nowhere() -> PathBuf {
    PathBuf::new()
}

#[test]
fn a_worker_opens_and_makes_nothing() {
    let test = "a_worker_opens_and_makes_nothing";
    if !may_run(test) {
        return;
    }
    let rig = Rig::new();
    let others = ["ring", "bpf", "kill", "executable", "fork", "thread", "setuid"];
    let all = SOCKETS.into_iter().chain(others);
    let mut attempts: Vec<_> = all.map(|what| (format!("worker:{what}"), nowhere(), NOT_PERMITTED)).collect();
    attempts.push(("worker:send".to_owned(), nowhere(), NO_SOCKET));
    for path in [rig.images.path().join("a"), rig.other.path().join("secret"), "/etc/shadow".into()] {
        attempts.push(("worker:open".to_owned(), path, NOT_PERMITTED));
    }
    let attempts: Vec<_> =
        attempts.iter().map(|(what, path, outcome)| (what.as_str(), path.clone(), *outcome)).collect();
    assert_outcomes(test, &attempts, &rig, &[]);
}

#[test]
fn the_control_thread_opens_what_may_be_exported_and_nothing_else() {
    let test = "the_control_thread_opens_what_may_be_exported_and_nothing_else";
    if !may_run(test) {
        return;
    }
    let (rig, folder) = (Rig::new(), Scratch::new());
    let later = folder.file("later", &pattern(3, 0, SECTORS));
    let linked = rig.other.file("linked", b"");
    [&later, &linked].into_iter().for_each(|path| open_to_all(path));
    std::os::unix::fs::symlink(&linked, folder.path().join("link")).unwrap();
    let folder = folder.path().to_str().unwrap().to_owned();
    // Only its directory matters here, and the socket left in it.
    let run = Scratch::new();
    let socket = run.path().join("left");
    drop(UnixListener::bind(&socket).unwrap());
    let control = run.path().join("socket").display().to_string();
    let secret = rig.other.path().join("secret");
    let image = |name| rig.images.path().join(name);
    let outside = format!(
        "attempt control:may_open by Control: {} is neither of the first exports nor in the folders that xblade may \
         open: add it by `xblade export add`, which opens it with your rights; or restart xblade with --folder {}",
        secret.display(),
        rig.other.path().display()
    );
    let attempts = [
        ("control:write", image("a"), DONE),
        ("control:write", image("neighbour"), DENIED),
        ("control:open", image("neighbour"), DENIED),
        ("control:write", later.clone(), DONE),
        // The target of a link that was in the directory at the start.
        ("control:write", linked, DONE),
        ("control:create", image("new"), DENIED),
        ("control:create", rig.state.path().join("new"), DONE),
        ("control:write", rig.state.path().join("kept.state"), DONE),
        ("control:open", secret.clone(), DENIED),
        ("control:open", "/etc/shadow".into(), DENIED),
        ("control:open", "/proc/1/environ".into(), DENIED),
        ("control:open", "/proc/self/status".into(), DONE),
        ("control:write", "/proc/self/mem".into(), DENIED),
        ("control:open", "/dev/null".into(), DENIED),
        ("control:open", "/sys/devices/system/cpu/possible".into(), DONE),
        ("control:write", "/proc/sys/kernel/core_pattern".into(), DENIED),
        ("control:remove", image("neighbour"), DENIED),
        ("control:remove", socket.clone(), DONE),
        ("control:may_open", image("a"), DONE),
        ("control:may_open", later, DONE),
        ("control:may_open", "/not/there".into(), DONE),
        ("control:may_open", secret, &outside),
    ];
    assert_outcomes(test, &attempts, &rig, &["--folder", &folder, "--control", &control]);
}

/// As a reload does, with rings, locks and everything.
#[apply(needs_root!)]
fn stores_are_opened_in_the_sandbox() {
    let (rig, elsewhere) = (Rig::new(), Scratch::new());
    let disk = elsewhere.file("disk", &pattern(5, 0, 2048));
    let device = LoopDevice::over(&disk);
    let neighbour = rig.images.path().join("neighbour");
    let ours = rig.images.path().join("a");
    let denied = "Permission denied";
    let folder = rig.images.path().to_str().unwrap();
    for (path, more, outcomes) in [
        (&neighbour, &["--folder", folder][..], ["Direct", "Cached", "Mapped"]),
        (&neighbour, &[], [denied; 3]),
        // Of root and the group disk.
        (&device.0, &["--folder", "/dev", "--user", "root"], ["Direct", "Cached", "Mapped"]),
        (&device.0, &["--folder", "/dev"], [denied; 3]),
        (&device.0, &[], [denied; 3]),
        (&disk, &[], [denied; 3]),
        // Without waiting: the holder is known.
        (&ours, &[], ["another export of this process"; 3]),
    ] {
        let mut daemon = rig.serve(&[("XBLADE_OPEN_LATER", path.to_str().unwrap())], more);
        let said = daemon.log();
        let lines: Vec<_> = said.lines().filter(|line| line.contains("opened later")).collect();
        assert_eq!(lines.len(), 3, "{said}");
        for (line, outcome) in lines.iter().zip(outcomes) {
            assert!(line.contains(outcome), "{} {more:?}: {line}, not {outcome}", path.display());
        }
        rig.assert_serves(&mut daemon, 1);
        daemon.stop();
    }
}

#[apply(needs_root!)]
fn a_reload_opens_what_is_in_the_folders_and_says_what_to_do_for_the_rest() {
    let (rig, folder) = (Rig::new(), Scratch::new());
    let file = folder.path().join("xblade.toml");
    let write = |second: Option<PathBuf>| {
        let exports = [Some(rig.images.path().join("a")), second].into_iter().flatten().zip(1..);
        let exports = exports.map(|(path, slot)| {
            format!("[[export]]\naddress = \"0.{slot}\"\npath = \"{}\"\n", path.display())
        });
        let head = format!(
            "interfaces = [\"xbp0\"]\nprobe = false\n[service]\ncontrol = \"none\"\nstate = \"none\"\nfolders = [{:?}]\n",
            rig.images.path()
        );
        // Replaced by another file, as editors do it.
        let next = folder.file("next", (head + &exports.collect::<String>()).as_bytes());
        fs::rename(next, &file).unwrap();
    };
    write(None);
    let arguments = ["--config".to_owned(), file.display().to_string()];
    let mut daemon = serve(&rig.pair.ours, &arguments, &[]);
    daemon.wait_for("ready:");
    rig.assert_serves(&mut daemon, 1);
    let secret = rig.other.path().join("secret");
    write(Some(secret.clone()));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for(&format!(
        "{} is neither of the first exports nor in the folders that xblade may open: add it by `xblade export add`, \
         which opens it with your rights; or add folders = [\"{}\"] to [service] and restart xblade",
        secret.display(),
        rig.other.path().display()
    ));
    rig.assert_serves(&mut daemon, 2);
    write(Some(rig.images.path().join("neighbour")));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("0.2: ");
    let ask = Ask { tag: 100, ..Ask::new((0, 2), ATA, ata(0x24, 3, 1, &[])) }.from(HOST);
    let expected = ask.reply((0, 2), &ata_done(&ask.argument, 0x40, 0, &pattern(2, 3, 1)));
    rig.expect_reply(&mut daemon, &ask, &expected);
    daemon.stop();
}

/// Real, effective, saved and file system id of each thread, if all are the same.
fn ids(daemon: &Daemon, line: &str) -> u32 {
    let all = threads(daemon);
    let ids: Vec<&str> = all.iter().flat_map(|thread| thread[line].split_whitespace()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{line}: {ids:?}");
    ids[0].parse().unwrap()
}

/// A daemon that was started as root is another user when it serves, and keeps what it needs.
#[apply(needs_root!)]
fn root_becomes_a_user_of_its_own() {
    let rig = Rig::new();
    let run = Scratch::new();
    let control = run.path().join("run/socket");
    let arguments = ["--control", control.to_str().unwrap()];
    let has_user = Command::new("id").arg("xblade").output().unwrap().status.success();
    for round in 1..=2 {
        let mut daemon = rig.serve(&[], &arguments);
        rig.assert_serves(&mut daemon, round);
        let (uid, gid) = (ids(&daemon, "Uid"), ids(&daemon, "Gid"));
        assert!(has_user || (61_184..=65_519).contains(&uid) && uid == gid, "{uid} {gid}");
        assert!(has_user || threads(&daemon).iter().all(|thread| thread["Groups"].is_empty()));
        assert!(daemon.log().contains(&format!(" (uid {uid})")), "{}", daemon.log());
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        let state = rig.state.path();
        for path in [control.as_path(), control.parent().unwrap(), state, &state.join("kept.state")] {
            assert_eq!(owner(path), uid, "{}", path.display());
        }
        assert_eq!(owner(&rig.images.path().join("a")), 0, "images keep their owner");
        daemon.stop();
        assert!(!control.exists(), "the socket is left");
    }
    let mut daemon = rig.serve(&[], &["--user", "daemon"]);
    rig.assert_serves(&mut daemon, 3);
    assert_eq!((ids(&daemon, "Uid"), fs::metadata(rig.state.path()).unwrap().uid()), (1, 1));
    daemon.stop();
    let ended = rig.start(&[], &[]).ended();
    assert!(ended.text.contains("it belongs to uid 1: "), "{}", ended.text);
    std::os::unix::fs::chown(rig.state.path(), Some(0), None).unwrap();
    let mut daemon = rig.serve(&[], &[]);
    rig.assert_serves(&mut daemon, 5);
    daemon.stop();
    // It can go back.
    let mut daemon = rig.serve(&[], &["--user", "root"]);
    assert_eq!((ids(&daemon, "Uid"), fs::metadata(rig.state.path()).unwrap().uid()), (0, 0));
    let said = daemon.wait_for("stays root");
    assert!(said.contains("WARN"), "{said}");
    rig.assert_serves(&mut daemon, 4);
    daemon.stop();
    for (more, code, part) in [
        (
            &["--user", "no-such-user"][..],
            2,
            "there is no such user: make it (useradd --system no-such-user)",
        ),
        (&["--user", "nobody"], 2, "other services share it: give one of its own"),
        (&["--user", "daemon", "--sandbox", "off"], 2, "has no meaning with --sandbox off"),
    ] {
        let ended = rig.start(&[], more).ended();
        assert!(ended.status.code() == Some(code) && ended.text.contains(part), "{}", ended.text);
    }
}

/// Without the capabilities to change its user, as with an older drop-in of the service.
#[apply(needs_root!)]
fn root_that_cannot_become_another_user_stays_root_unless_one_is_given() {
    let rig = Rig::new();
    let image = format!("0.1={}", rig.images.path().join("a").display());
    let start = |more: &[&str]| {
        let words = ["--bounding-set=-setuid", "--inh-caps=-setuid"];
        let mut command = Command::new("setpriv");
        command.args(words).arg(xblade_tests::xblade());
        command.args(["serve", &image, "--no-probe", "--control", "none", "--state", "none", "-i", OURS]);
        command.args(more);
        Daemon::spawn(&rig.pair.ours, command)
    };
    let mut daemon = start(&[]);
    let said = daemon.wait_for("and stays root: give it these");
    assert!(said.contains("WARN") && said.contains("lacks CAP_SETUID"), "{said}");
    daemon.wait_for("ready:");
    rig.assert_serves(&mut daemon, 1);
    daemon.stop();
    let ended = start(&["--user", "daemon"]).ended();
    assert!(ended.status.code() == Some(2) && ended.text.contains("or --user root"), "{}", ended.text);
}

/// Its user has the state folder from the second start on, and could put anything there, for
/// root to fall over at the third.
#[apply(needs_root!)]
fn what_the_user_puts_into_its_folders_does_not_lead_root_astray() {
    let rig = Rig::new();
    let secret = rig.other.path().join("secret");
    let facts = || {
        let facts = fs::metadata(&secret).unwrap();
        (facts.uid(), facts.mode(), fs::read(&secret).unwrap())
    };
    let before = facts();
    rig.serve(&[], &[]).stop();
    let state = rig.state.path();
    std::os::unix::fs::symlink(&secret, state.join("0.9-x.state")).unwrap();
    fs::hard_link(&secret, state.join("0.9-y.state")).unwrap();
    std::os::unix::fs::symlink(&secret, state.join("0.9-x.state.new")).unwrap();
    // Found at the start, under the names that are written next.
    let kept = |end: &str| {
        let all = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.to_str().unwrap().ends_with(end)).collect::<Vec<_>>()
    };
    let mut daemon = rig.serve(&[], &[]);
    let ask = Ask { tag: 7, ..Ask::new(EXPORT, QUERY, query(4, b"one")) }.from(HOST);
    rig.expect_reply(&mut daemon, &ask, &ask.reply(EXPORT, &query_done(64, 2, 4, b"one")));
    daemon.stop();
    let written = kept(".state").into_iter().find(|path| path.to_str().unwrap().contains("/0.1-")).unwrap();
    let next = written.with_extension("state.new");
    std::os::unix::fs::symlink(&secret, &next).unwrap();
    // Another name of the same data: the start writes the state again.
    fs::rename(rig.images.path().join("a"), rig.images.path().join("b")).unwrap();
    std::os::unix::fs::symlink("b", rig.images.path().join("a")).unwrap();
    let text = fs::read_to_string(&written).unwrap();
    assert!(text.contains("/a"), "{text}");
    let image = rig.images.path().join("b");
    let mut arguments = vec![format!("0.1={}", image.display())];
    arguments
        .extend(["--interface", OURS, "--no-probe", "--state", state.to_str().unwrap()].map(str::to_owned));
    let daemon = serve(&rig.pair.ours, &arguments, &[]);
    daemon.wait_for("ready:");
    daemon.stop();
    assert!(fs::read_to_string(&written).unwrap().contains("/b"), "it was written by root");
    assert_eq!(facts(), before);
    // A FIFO does not hold the start up, and a link is no state.
    fs::remove_file(&written).unwrap();
    std::os::unix::fs::symlink(&secret, &written).unwrap();
    let ended = serve(&rig.pair.ours, &arguments, &[]).ended();
    assert!(
        ended.status.code() == Some(3) && ended.text.contains("cannot read the state of 0.1"),
        "{}",
        ended.text
    );
    assert!(!ended.text.contains("secret\n"), "{}", ended.text);
    fs::remove_file(&written).unwrap();
    assert!(Command::new("mkfifo").arg(&written).status().unwrap().success());
    let ended = serve(&rig.pair.ours, &arguments, &[]).ended();
    assert!(ended.status.code() == Some(3) && ended.text.contains("it is no file"), "{}", ended.text);
}

#[apply(needs_root!)]
fn a_state_folder_that_the_user_cannot_have_is_refused() {
    let rig = Rig::new();
    let (closed, foreign, theirs) = (Scratch::new(), Scratch::new(), Scratch::new());
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let inside = closed.path().join("state");
    foreign.file("letter.txt", b"");
    std::os::unix::fs::chown(theirs.path(), Some(65_533), None).unwrap();
    for (folder, part) in [
        (inside.as_path(), format!("it cannot enter {}", closed.path().display())),
        (foreign.path(), "letter.txt in it is not of xblade".to_owned()),
        (theirs.path(), "it belongs to uid 65533".to_owned()),
        (Path::new("/tmp"), "it is one of the system's".to_owned()),
    ] {
        let before = fs::metadata(folder).ok().map(|facts| facts.uid());
        let ended = rig.start(&[], &["--state", folder.to_str().unwrap()]).ended();
        assert!(ended.status.code() == Some(3) && ended.text.contains(&part), "{part}: {}", ended.text);
        assert!(ended.text.contains("--state FOLDER), or --user root"), "{}", ended.text);
        if folder != inside {
            assert_eq!(fs::metadata(folder).ok().map(|facts| facts.uid()), before, "{}", folder.display());
        }
    }
}

#[apply(needs_root!)]
fn states_are_kept_in_the_sandbox() {
    let rig = Rig::new();
    // The directory is created at the start.
    let state = rig.state.path().join("made");
    for round in 1..=2u32 {
        let mut daemon = rig.serve(&[], &["--state", state.to_str().unwrap()]);
        // Created, then replaced.
        for (tag, string) in [(round * 10, "one"), (round * 10 + 1, "another")] {
            let ask = Ask { tag, ..Ask::new(EXPORT, QUERY, query(4, string.as_bytes())) }.from(HOST);
            let expected = ask.reply(EXPORT, &query_done(64, 2, 4, string.as_bytes()));
            rig.expect_reply(&mut daemon, &ask, &expected);
            let files: Vec<_> = fs::read_dir(&state).unwrap().map(|file| file.unwrap().path()).collect();
            assert_eq!(files.len(), 1, "{files:?}");
            let text = fs::read_to_string(&files[0]).unwrap();
            assert!(files[0].extension().is_some_and(|end| end == "state"), "{files:?}: {text}");
        }
        daemon.stop();
    }
}

/// A loop device over a file, with its name.
struct LoopDevice(PathBuf);

impl LoopDevice {
    fn over(file: &Path) -> Self {
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(String::from_utf8(made.stdout).unwrap().trim().into())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn the_control_thread_makes_threads_and_neither_rings_nor_other_sockets() {
    let test = "the_control_thread_makes_threads_and_neither_rings_nor_other_sockets";
    if !may_run(test) {
        return;
    }
    let rig = Rig::new();
    let others = ["ring", "bpf", "kill", "executable", "fork", "setuid"];
    let refused: Vec<_> =
        SOCKETS.into_iter().chain(others).map(|what| (format!("control:{what}"), NOT_PERMITTED)).collect();
    let allowed = [("control:thread".to_owned(), DONE), ("control:send".to_owned(), NO_SOCKET)];
    let attempts: Vec<_> =
        refused.iter().chain(&allowed).map(|(what, outcome)| (what.as_str(), nowhere(), *outcome)).collect();
    assert_outcomes(test, &attempts, &rig, &[]);
}

#[test]
fn a_helper_makes_neither_rings_nor_sockets() {
    let test = "a_helper_makes_neither_rings_nor_sockets";
    if !may_run(test) {
        return;
    }
    let rig = Rig::new();
    let refused: Vec<_> = SOCKETS
        .into_iter()
        .chain(["ring", "bpf", "fork", "setuid"])
        .map(|what| format!("helper:{what}"))
        .collect();
    let refused = refused.iter().map(|what| (what.as_str(), nowhere(), NOT_PERMITTED));
    let attempts = [
        ("helper:thread", nowhere(), DONE),
        ("helper:write", rig.state.path().join("kept.state"), DONE),
        ("helper:open", rig.other.path().join("secret"), DENIED),
    ];
    assert_outcomes(test, &attempts.into_iter().chain(refused).collect::<Vec<_>>(), &rig, &[]);
}

/// What docs/THREATS.md says that an attacker keeps.
#[test]
fn what_an_intruder_keeps() {
    let test = "what_an_intruder_keeps";
    if !may_run(test) {
        return;
    }
    let rig = Rig::new();
    let folder = rig.other.path().display().to_string();
    // The kernel looks at the descriptor, which is none of this kind: no filter has refused.
    let attempts = [
        ("control:write", rig.images.path().join("a"), DONE),
        ("control:write", rig.other.path().join("secret"), DONE),
        ("control:create", rig.state.path().join("0.9-z.state"), DONE),
        ("control:stat", "/etc/shadow".into(), DONE),
        ("helper:receive", nowhere(), NO_SOCKET),
        ("control:map", nowhere(), "(os error 22)"),
        ("worker:kick", nowhere(), "(os error 95)"),
        ("worker:send", nowhere(), NO_SOCKET),
    ];
    assert_outcomes(test, &attempts, &rig, &["--folder", &folder]);
}

#[apply(needs_root!)]
fn what_only_an_intruder_calls_ends_the_process() {
    let rig = Rig::new();
    for role in ["control", "worker", "helper"] {
        for call in ["exec", "ptrace", "mount", "unshare", "module"] {
            let what = format!("{role}:{call}");
            let Ended { status, text } = rig.attempt(&what, &nowhere(), &[]).ended();
            assert_eq!(status.signal(), Some(libc::SIGSYS), "{what}: {status}: {text}");
            assert!(!status.core_dumped(), "{what}");
        }
    }
    // Nothing of it is left: the next daemon serves.
    let mut daemon = rig.serve(&[], &[]);
    rig.assert_serves(&mut daemon, 1);
}
