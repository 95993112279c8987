//! The commands, against the real program on a veth pair.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::http;
use crate::image::{Dir, Image, pattern, sector};
use crate::openapi::Document;
use crate::process::{serving, serving_file, xblade};
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, Report, Space, apply, at, needs_root, until};

/// A daemon with a control socket, and a host.
pub struct Rig {
    pub host: Initiator,
    pub daemon: Daemon,
    pub socket: PathBuf,
    first: Image,
    dir: Dir,
    pair: Pair,
}

impl Rig {
    /// Serves image `a` at 0.1; there is also an image `b`.
    pub fn new() -> Self {
        Self::on(Pair::new())
    }

    /// The same, and the members of a group may change something.
    pub fn with_admins(group: &str) -> Self {
        Self::with(Pair::new(), &format!("--admin-group {group}"))
    }

    fn on(pair: Pair) -> Self {
        Self::with(pair, "")
    }

    fn with(pair: Pair, more: &str) -> Self {
        let dir = Dir::new();
        let first = dir.image("a", 64);
        dir.image("b", 128);
        // In a folder of its own, which becomes that of the daemon's user.
        let socket = dir.path().join("run/xblade.sock");
        let arguments =
            format!("0.1={first} -i {OURS} --measure-every 0 --control {} {more}", socket.display());
        let daemon = serving(&pair.ours, &arguments);
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        Self { host, daemon, socket, first, dir, pair }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Runs a command; returns its exit code, output and errors.
    fn run(&self, words: &str) -> (i32, String, String) {
        run(&self.socket, words)
    }

    #[track_caller]
    pub fn good(&self, words: &str) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!((code, err.as_str()), (0, ""), "{words}: {out}");
        out
    }

    /// The output of a command as JSON.
    #[track_caller]
    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.good(&format!("{words} --json"))).unwrap()
    }

    /// Stops the daemon cleanly; returns its last report.
    pub fn end(self) -> Report {
        let report = self.daemon.stop().report();
        report.assert_sound();
        assert!(!self.socket.exists(), "the socket is left");
        report
    }
}

fn run(socket: &Path, words: &str) -> (i32, String, String) {
    let output = xblade(words).arg("--control").arg(socket).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[apply(needs_root!)]
fn a_running_daemon_tells_what_it_serves_and_has_counted() {
    let mut rig = Rig::new();
    for lba in 0..10 {
        rig.host.write(at(0, 1), lba, &pattern(lba, 1));
        rig.host.read(at(0, 1), lba, 1);
    }
    Document::of(&rig.socket).check_all(&rig.socket, "0.1");
    let status = rig.json("status");
    assert_eq!(status["pid"], rig.daemon.pid());
    let interface = &status["interfaces"][0];
    assert_eq!(
        (&interface["name"], &interface["up"], &interface["present"]),
        (&OURS.into(), &true.into(), &true.into())
    );
    assert_eq!(interface["mac"], rig.pair.ours.mac(OURS).to_string());
    let export = &status["exports"][0];
    assert_eq!((&export["address"], &export["size-bytes"]), (&"0.1".into(), &32768.into()));
    assert_eq!(export["path"], rig.first.path().display().to_string());
    assert_eq!(status["workers"][0]["exports"], serde_json::json!(["0.1"]));
    let stats = rig.json("stats");
    let export = &stats["exports"][0];
    assert_eq!(
        (&export["requests"]["read"]["ok"], &export["requests"]["write"]["ok"]),
        (&10.into(), &10.into())
    );
    assert_eq!((&export["bytes-read"], &export["bytes-written"]), (&5120.into(), &5120.into()));
    for times in ["response", "service", "store"] {
        for operation in ["read", "write"] {
            let of = &export[times][operation];
            assert_eq!(of["count"], 10, "{times} {operation}: {of}");
            assert!(
                of["p50-ns"].as_u64() > Some(0) && of["p50-ns"].as_u64() <= of["max-ns"].as_u64(),
                "{of}"
            );
        }
    }
    // Each is a part of the total.
    for operation in ["read", "write"] {
        for key in ["p50-ns", "p99-ns", "max-ns"] {
            let times = ["store", "service", "response"].map(|times| export[times][operation][key].as_u64());
            assert!(times[0].is_some() && times.is_sorted(), "{operation} {key}: {export}");
        }
    }
    assert!(stats["interfaces"][0]["counters"]["redirected"].as_u64() >= Some(20), "{stats}");
    assert!(stats["lanes"][0]["counters"]["received"].as_u64() >= Some(20), "{stats}");
    let text = rig.good("status");
    assert!(text.contains("0.1") && text.contains("32.0 KiB") && text.contains("good"), "{text}");
    assert!(rig.good("stats").contains("service"));
    // The output of `show` can be served.
    let loaded = xblade::config::parse("shown", &rig.good("show"), "");
    assert!(loaded.faults.is_empty(), "{}", loaded.faults);
    assert_eq!(loaded.serve.exports[0].address, at(0, 1));
    assert_eq!(loaded.serve.interfaces, [OURS]);
    rig.end();
}

#[apply(needs_root!)]
fn exports_come_and_go_by_commands() {
    let mut rig = Rig::new();
    let b = rig.path("b");
    let out = rig.good(&format!("export add 0.2={b}"));
    assert!(out.contains("0.2 added") && out.contains(&b), "{out}");
    rig.host.until_served(at(0, 2));
    assert_eq!(rig.host.read(at(0, 2), 100, 1), sector(100));
    let (code, _, err) = rig.run(&format!("export add 0.2={b}"));
    assert!(code == 2 && err.contains("0.2 is served already"), "{err}");
    let (code, _, err) = rig.run(&format!("export add 0.3={}", rig.path("none")));
    assert!(code != 0 && err.contains("none"), "{code}: {err}");
    let (code, _, err) = rig.run(&format!("export add 0.3={}", rig.path("a")));
    assert!(code == 2 && err.contains("/a: is exported already, at 0.1: "), "{code}: {err}");
    let (code, _, err) = rig.run("export add 0.3=/dev/zero");
    assert!(code == 3 && err.contains("/dev/zero: is a character device"), "{code}: {err}");
    // A file that its owner may open, and neither the daemon nor a path alone.
    let secret = rig.dir.image("secret", 8).path().to_owned();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let refused = http::ask(
        &rig.socket,
        "POST",
        "/v1/exports",
        &format!(r#"{{"export": "0.3={}"}}"#, secret.display()),
    );
    assert_eq!(refused.status, 400, "{refused:?}");
    for part in
        ["/secret is neither of the first exports", "`xblade export add`", "restart xblade with --folder"]
    {
        assert!(refused.error().contains(part), "{part}: {refused:?}");
    }
    assert!(rig.good(&format!("export add 0.3={}", secret.display())).contains("0.3 added"));
    rig.host.until_served(at(0, 3));
    rig.good("export remove 0.3");
    // Refusals are also logged, and who has asked.
    rig.daemon.wait_for("WARN ] export add 0.2 was refused: 0.2 is served already");
    rig.daemon.wait_for("WARN ] export add 0.3 was refused: ");
    rig.daemon.wait_for(&format!("0.3: {} is to be added for uid 0, process ", secret.display()));

    let out = rig.good(&format!("export add 0.4={},durability=volatile", rig.dir.image("v", 8)));
    assert!(out.contains(", VOLATILE)"), "{out}");
    rig.good("export remove 0.4");

    // Two exports of one file.
    let parts = rig.dir.image("parts", 64);
    rig.good(&format!("export add 0.4={parts},length=16,store=direct"));
    let (code, _, err) = rig.run(&format!("export add 0.5={parts},offset=16,length=8,store=file"));
    let expected = format!(
        "0.5 ({parts}): is reached by store=file, and 0.4 ({parts}) by store=direct: both are of one"
    );
    assert!(code == 2 && err.contains(&expected), "{code}: {err}");
    rig.good(&format!("export add 0.5={parts},offset=16,length=8,store=direct"));
    rig.good("export remove 0.4");
    rig.good("export remove 0.5");

    rig.good("export read-only 0.2");
    let tag = rig.host.send_write(at(0, 2), 5, &pattern(5, 1));
    assert_eq!(rig.host.answer(tag).status, 0x41, "it is read-only now");
    let export = rig.json("status")["exports"][1].clone();
    assert_eq!(export["read-only"], true);
    // The text does not mention how writes become durable.
    let way = |export: &Value| export["way"].as_str().unwrap().to_owned();
    assert!(!way(&export).contains(','), "{export}");
    // The store is opened again, but the export stays the same.
    let counted = |rig: &Rig| rig.json("stats")["exports"][1].clone();
    let before = counted(&rig);
    rig.good("export read-only 0.2 --off");
    assert_eq!(counted(&rig), before);
    let again = way(&rig.json("status")["exports"][1]);
    assert!(again.contains("made stable") || again.contains("one sync"), "{again}");
    assert_eq!(before["requests"]["write"]["error"], 1);
    rig.host.write(at(0, 2), 5, &pattern(5, 2));

    rig.first.resize(256);
    let out = rig.good("export resize 0.1");
    assert!(out.contains("128.0 KiB now, was 32.0 KiB"), "{out}");
    assert_eq!(rig.host.identify(at(0, 1)).sectors, 256);

    assert!(rig.good("export remove 0.2").contains("0.2 removed: hosts have used it, and wait"));
    rig.host.assert_silence(at(0, 2));
    let (code, _, err) = rig.run("export remove 0.2");
    assert!(code == 2 && err.contains("no export 0.2"), "{err}");
    for what in [
        "export resize",
        "export read-only",
        "reservations --clear",
        "masks --clear",
        "config-strings --clear",
    ] {
        assert_eq!(rig.run(&format!("{what} 0.2")).0, 2, "{what}");
    }
    for what in ["remove", "resize", "read-only"].map(|what| format!("export {what}")) {
        rig.daemon.wait_for(&format!("{what} 0.2 was refused: there is no export 0.2: there are 0.1"));
    }
    for what in ["reservations", "masks", "config-strings"] {
        rig.daemon.wait_for(&format!("{what} --clear 0.2 was refused: there is no export 0.2"));
    }
    assert_eq!(rig.json("status")["exports"].as_array().map(Vec::len), Some(1));
    let (code, _, err) = rig.run("reload");
    assert!(code == 2 && err.contains("without a configuration file"), "{err}");
    // If no socket is at the given path, the error names the ones beside it.
    let (code, _, err) = run(&rig.socket.with_file_name("nobody"), "status");
    let there = format!("(--control PATH; there is {})", rig.socket.display());
    assert!(code == 3 && err.contains(&there), "{code}: {err}");
    // What was done for removed exports is part of the last report.
    let last = rig.end();
    assert_eq!((last.each("worker", "reads"), last.each("worker", "writes")), (vec![1], vec![1]));
}

#[apply(needs_root!)]
fn a_reload_by_command_takes_the_file() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let (a, b) = (dir.image("a", 64), dir.image("b", 64));
    let (file, socket) = (dir.path().join("xblade.toml"), dir.path().join("xblade.sock"));
    let head = format!(
        "interfaces = ['{OURS}']\nprobe = false\n[service]\nstate = 'none'\ncontrol = '{}'\nfolders = ['{}']\n",
        socket.display(),
        dir.path().display()
    );
    let one = |address: &str, image: &Image| format!("[[export]]\naddress = '{address}'\npath = '{image}'\n");
    fs::write(&file, head.clone() + &one("0.1", &a)).unwrap();
    let daemon = serving_file(&pair.ours, &file.display().to_string());
    assert_eq!(run(&socket, "reload"), (0, "nothing had to change\n".to_owned(), String::new()));
    fs::write(&file, head.clone() + &one("0.1", &a) + &one("0.2", &b)).unwrap();
    let (code, out, err) = run(&socket, "reload");
    assert!(code == 0 && out.contains("0.2 added"), "{out}{err}");
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 2));
    fs::write(&file, head + "[[export]]\naddress = '0.1'\n").unwrap();
    let (code, _, err) = run(&socket, "reload");
    assert!(code == 2 && err.contains("nothing was changed") && err.contains("has no path"), "{err}");
    assert_eq!(host.read(at(0, 2), 7, 1), sector(7));
    daemon.stop().report().assert_sound();
}

/// What would be added, reopened, changed, removed and refused, as the reload does afterwards.
#[apply(needs_root!)]
fn a_dry_run_says_what_a_reload_does_and_does_nothing() {
    let (pair, dir) = (Pair::new(), Dir::new());
    for name in ["a", "b", "c", "d"] {
        dir.image(name, 64);
    }
    let (file, socket) = (dir.path().join("xblade.toml"), dir.path().join("run/xblade.sock"));
    let write = |exports: &[&str]| {
        let folder = dir.path().display();
        let head = format!(
            "interfaces = ['{OURS}']\nprobe = false\n[service]\nstate = '{folder}/state'\ncontrol = '{}'\nfolders = ['{folder}']\n",
            socket.display()
        );
        let one = |export: &&str| {
            let (address, rest) = export.split_once('=').unwrap();
            let (name, more) = rest.split_once(',').unwrap_or((rest, ""));
            format!("[[export]]\naddress = '{address}'\npath = '{folder}/{name}'\n{more}\n")
        };
        fs::write(&file, head + &exports.iter().map(one).collect::<String>()).unwrap();
    };
    write(&["0.1=a", "0.2=b", "0.3=c"]);
    let daemon = serving_file(&pair.ours, &file.display().to_string());
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 1));
    host.read(at(0, 3), 0, 1);
    let status = || -> Value { serde_json::from_str(&run(&socket, "status --json").1).unwrap() };
    let states = || fs::read_dir(dir.path().join("state")).unwrap().count();
    let before = (status()["exports"].clone(), states());
    let mark = daemon.mark();

    assert_eq!(run(&socket, "reload --dry-run").1, "nothing had to change\n");
    write(&["0.1=a,iops = 300", "0.3=c,sync = 'each'", "0.4=d"]);
    let (code, dry, err) = run(&socket, "reload --dry-run");
    assert_eq!(code, 0, "{err}");
    let expected =
        ["0.4 would be added: ", "0.3 would be reopened: ", "0.1 would be changed", "0.2 would be removed"];
    assert!(dry.lines().zip(expected).all(|(line, start)| line.starts_with(start)), "{dry}");
    assert_eq!(dry.lines().count(), 4, "{dry}");
    assert_eq!((status()["exports"].clone(), states()), before);
    let logged: Vec<String> = daemon.log().lines().skip(mark).map(str::to_owned).collect();
    assert!(logged.iter().all(|line| line.contains("asked by")), "{logged:?}");
    let (_, done, _) = run(&socket, "reload");
    let kinds = |text: &str| {
        let kind = |line: &str| line.replace("would be ", "").split(':').next().unwrap().to_owned();
        let mut kinds: Vec<String> = text.lines().map(kind).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(&dry), kinds(&done));

    // Refused alike: a file that cannot be opened, other data, a mistake in the file.
    for exports in [&["0.1=a", "0.5=none"][..], &["0.1=a", "0.3=b"], &["0.1=a", "0.1=b"]] {
        write(exports);
        let [dry, real] = ["reload --dry-run", "reload"].map(|words| run(&socket, words));
        assert!(dry.0 != 0 && dry == real, "{dry:?} {real:?}");
    }
    daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn a_second_daemon_does_not_take_the_socket() {
    let rig = Rig::new();
    let other = Pair::new();
    let serve =
        format!("serve 0.2={} -i {OURS} --no-probe --control {}", rig.path("b"), rig.socket.display());
    let refused = Daemon::spawn(&other.ours, xblade(&serve)).ended();
    assert_eq!(refused.status.code(), Some(3), "{}", refused.text);
    for part in ["another xblade has this control socket", "--control none"] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    let remedy = format!("`xblade export add SHELF.SLOT=PATH --control {}`", rig.socket.display());
    assert!(refused.text.contains(&remedy), "{}", refused.text);
    // Nothing of the second instance is left, and the first one continues.
    assert_eq!(rig.json("status")["exports"][0]["address"], "0.1");
    rig.end();
}

#[apply(needs_root!)]
fn one_that_was_killed_leaves_nothing_in_the_way() {
    let rig = Rig::new();
    let Rig { daemon, socket, first, pair, dir: _dir, .. } = rig;
    daemon.end_by(libc::SIGKILL);
    let (code, _, err) = run(&socket, "status");
    assert!(code == 3 && err.contains("xblade has exited"), "{err}");
    let daemon = serving(&pair.ours, &format!("0.1={first} -i {OURS} --control {}", socket.display()));
    assert_eq!(run(&socket, "status").0, 0);
    daemon.stop();
    let (code, _, err) = run(&socket, "status");
    assert!(code == 3 && err.contains("xblade does not run"), "{err}");
}

/// Misbehaving clients, while a host reads and writes.
#[apply(needs_root!)]
fn frames_are_served_whatever_clients_do() {
    let mut rig = Rig::new();
    let idle: Vec<_> = (0..200).map(|_| http::connect(&rig.socket)).collect();
    for round in 1..=20 {
        http::raw(&rig.socket, &vec![0; 200_000]);
        http::raw(&rig.socket, format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(200_000)).as_bytes());
        http::raw(
            &rig.socket,
            format!(
                "POST /v1/exports HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n{}",
                "y".repeat(999_999)
            )
            .as_bytes(),
        );
        rig.host.write(at(0, 1), round, &pattern(round, round));
        assert_eq!(rig.host.read(at(0, 1), round, 1), pattern(round, round));
        assert_eq!(http::get(&rig.socket, "/v1/status").status, 200);
    }
    drop(idle);
    rig.end();
}

#[apply(needs_root!)]
fn what_hosts_have_set_is_told_and_taken_away() {
    let rig = Rig::new();
    assert!(rig.good("reservations").contains("nothing is reserved"));
    assert!(rig.good("masks").contains("no export is masked"));
    assert!(rig.good("masks --clear 0.1").contains("0.1"));
    assert!(rig.good("reservations --clear 0.1").contains("0.1"));
    let (code, _, err) = rig.run("reservations --clear 0.9");
    assert!(code == 2 && err.contains("no export 0.9"), "{err}");
    let lines = rig.daemon.wait_for("asked by uid 0");
    assert!(lines.contains("DELETE /v1/exports/0.1/mask"), "{lines}");
    rig.end();
}

/// The identity of an export does not depend on the working directory.
#[apply(needs_root!)]
fn an_export_with_a_relative_path_is_the_same_as_with_the_whole_one() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let socket = dir.path().join("xblade.sock");
    let mut command = xblade(&format!("serve --no-probe 0.1=a -i {OURS} --control {}", socket.display()));
    command.current_dir(dir.path());
    let daemon = Daemon::spawn(&pair.ours, command);
    daemon.wait_for("ready:");
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    assert_eq!(host.read(at(0, 1), 3, 1), sector(3));
    let (code, shown, _) = run(&socket, "show");
    assert!(code == 0 && shown.contains(&format!("path = \"{image}\"")), "{shown}");
    for words in ["export remove 0.1".to_owned(), format!("export add 0.1={image}")] {
        let (code, _, err) = run(&socket, &words);
        assert_eq!((code, err.as_str()), (0, ""), "{words}");
    }
    host.until_served(at(0, 1));
    assert_eq!(host.read(at(0, 1), 4, 1), sector(4));
    daemon.stop().report().assert_sound();
}

/// The sandbox allows no new sockets: the log and `status` name what a restart would give.
#[apply(needs_root!)]
fn queues_that_appear_while_it_serves_are_reported() {
    let pair = Pair::with("numrxqueues 4 numtxqueues 4");
    let channels = |space: &Space, name, n| space.sh(&format!("ethtool -L {name} rx {n} tx {n}"));
    channels(&pair.ours, OURS, 2);
    channels(&pair.peer, PEER, 2);
    let rig = Rig::on(pair);
    let warning = "4 queues, and xblade serves 2 of them: requests that arrive on the others get no reply: restart \
                   xblade, or run `ethtool -L xbp0 combined 2`";
    let warns = || rig.good("status").contains(&format!("\n{OURS}: {warning}\n"));
    rig.daemon.wait_for(&format!("{OURS}: driver veth, MTU 1500, 2 queues"));
    assert!(!warns() && rig.json("status")["interfaces"][0]["warning"].is_null());
    channels(&rig.pair.ours, OURS, 4);
    rig.daemon.wait_for(&format!("WARN ] {OURS}: {warning}"));
    assert!(warns() && rig.json("status")["interfaces"][0]["warning"] == warning);
    channels(&rig.pair.ours, OURS, 2);
    until("the warning is gone", || !warns());
    rig.end();
}
