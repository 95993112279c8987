//! A configuration file in use: served, checked against the machine, and shown.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use xblade::wire::ether::Mac;

use crate::daemon::{serving_file, xblade, xblade_after};
use crate::image::{Dir, sector};
use crate::machine::public_copy;
use xblade_kit::{Initiator, OURS, PATIENCE, PEER, Pair, apply, at, join, needs_root};

/// Writes a configuration file with this text, where `%` is the directory.
fn configuration(dir: &Dir, text: &str) -> String {
    let path = dir.path().join("xblade.toml");
    fs::write(&path, text.replace('%', &dir.path().display().to_string())).unwrap();
    path.display().to_string()
}

fn run(pair: &Pair, arguments: &str) -> (Option<i32>, String, String) {
    finish(pair, xblade(arguments))
}

fn finish(pair: &Pair, mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = pair.ours.run(move || command.output().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[apply(needs_root!)]
fn a_file_is_served_as_the_command_line_would_be() {
    let (pair, dir) = (Pair::new(), Dir::new());
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    dir.image("a", 64);
    let file = configuration(
        &dir,
        "interfaces = ['*2', '*']\nprobe = false\n[workers]\ncores = [0]\n[xdp]\nmode = 'generic'\n\
         [limits]\nbuffer-count = 16\n[[export]]\naddress = '0.1'\npath = '%/a'\noffset = 8\nlength = '8KiB'\n\
         read-only = true\n",
    );
    let daemon = serving_file(&pair.ours, &file);
    daemon.wait_for("ready: 1 export on xbp2, xbp0");
    daemon.wait_for("XDP in generic mode");
    daemon.wait_for("worker 0 runs on core 0");
    for (ours, peer) in [(OURS, PEER), ("xbp2", "xbp3")] {
        let mut host = Initiator::new(&pair.peer, peer, pair.ours.mac(ours));
        assert_eq!(host.read(at(0, 1), 3, 1), sector(11), "from the offset on");
        assert_eq!(host.identify(at(0, 1)).sectors, 16);
        assert_eq!(host.query(at(0, 1), PATIENCE).unwrap().1.buffer_count, 16);
        let tag = host.send_write(at(0, 1), 1, &sector(1));
        assert_eq!(host.answer(tag).status & 1, 1, "it is read-only");
    }
    // A running xblade is no problem of the machine.
    let (code, out, err) = run(&pair, &format!("check --config {file}"));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.ends_with("no faults: 1 export on *2, *\n"), "{out}");
    daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn each_export_is_for_the_hosts_on_its_own_list() {
    let (pair, dir) = (Pair::new(), Dir::new());
    dir.image("a", 8);
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    let (own, other) = (host.mac, Mac([2, 0, 0, 0, 0, 0x77]));
    let export = |slot: u8, allow: &str| {
        format!("[[export]]\naddress = '0.{slot}'\npath = '%/a'\nread-only = true\n{allow}\n")
    };
    let lists = format!("[acl]\nmine = ['{own}']\nboth = ['mine', '{other}']\n");
    for (third, kernel) in [("allow = ['mine']", true), ("allow = 'everybody'", false)] {
        let exports = [export(1, ""), export(2, "allow = ['both']"), export(3, third)].concat();
        let top = format!("interfaces = ['{OURS}']\nprobe = false\nallow = ['{other}']\n");
        let file = configuration(&dir, &format!("{top}{exports}{lists}"));
        host.mac = own;
        host.clear();
        let daemon = serving_file(&pair.ours, &file);
        let mut told: Vec<_> = (0..4)
            .map(|_| host.announcement(PATIENCE).unwrap())
            .map(|told| (told.address, told.to))
            .collect();
        told.sort_unstable();
        let last = if kernel { own } else { Mac::BROADCAST };
        let mut expected = [(at(0, 1), other), (at(0, 2), own), (at(0, 2), other), (at(0, 3), last)];
        expected.sort_unstable();
        assert_eq!(told, expected);
        for (mac, served) in [(own, [false, true, true]), (other, [true, true, !kernel])] {
            host.mac = mac;
            for (slot, served) in (1..).zip(served) {
                if served {
                    assert_eq!(host.read(at(0, slot), 1, 1), sector(1), "{mac} at 0.{slot}");
                } else {
                    host.assert_silence(at(0, slot));
                }
            }
        }
        // If all exports have lists, a host on no list is rejected in the kernel.
        let before = daemon.report();
        host.mac = Mac([2, 0, 0, 0, 0, 0x78]);
        host.assert_silence(at(0, 1));
        let after = daemon.report();
        let came = after.sum("received") > before.sum("received");
        assert_eq!(came, !kernel, "whether the question came to the rings");
        daemon.stop().report().assert_sound();
        pair.ours.until_detached(OURS);
    }
}

#[apply(needs_root!)]
fn faults_of_the_file_end_it_before_anything_else() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let file = configuration(
        &dir,
        "interfaces = ['xbp0']\n[[export]]\naddress = '0.1'\npath = '%/none'\nro = true\n",
    );
    for (arguments, parts) in [
        ("serve", &[":5:1: ro is not a key", "did you mean read-only?"][..]),
        ("show", &[":5:1: ro is not a key"]),
        ("check", &[":5:1: ro is not a key", "On this machine:", ":4:8: ", "/none: no such file"]),
    ] {
        let (code, out, err) = run(&pair, &format!("{arguments} --config {file}"));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments}: {err}");
        for part in parts {
            assert!(err.contains(part), "{arguments}: {part}: {err}");
        }
    }
    for (text, part) in
        [(&b"\xff"[..], "valid UTF-8: save the file as UTF-8"), (b"interfaces = [", "not closed")]
    {
        fs::write(&file, text).unwrap();
        let (code, _, err) = run(&pair, &format!("serve --config {file}"));
        assert!(code == Some(2) && err.contains(part), "{err}");
    }
    let (code, _, err) = run(&pair, "serve --config /none/xblade.toml");
    assert!(code == Some(2) && err.contains("/none/xblade.toml: cannot read the configuration"), "{err}");
}

#[apply(needs_root!)]
fn what_on_the_machine_does_not_fit_is_told_with_its_place() {
    let (pair, dir) = (Pair::new(), Dir::new());
    dir.image("a", 8);
    dir.image("empty", 0);
    let exports = ["none", "", "empty", "a"]
        .iter()
        .zip(1..)
        .map(|(name, slot)| format!("[[export]]\naddress = '0.{slot}'\npath = '%/{name}'\n"));
    let exports: String = exports.collect();
    let file = configuration(
        &dir,
        &format!(
            "interfaces = ['xbp0', 'xbpnone', 'storage*', 'lo']\n{exports}offset = 6\nlength = 3\n\
             [workers]\ncores = [0, 4711]\n[service]\nmetrics = '127.0.0.1:9464'\n"
        ),
    );
    pair.ours.sh("ip link set lo up");
    let _taken = pair.ours.run(|| TcpListener::bind("127.0.0.1:9464").unwrap());
    let (code, out, err) = run(&pair, &format!("check --config {file}"));
    assert_eq!((code, out.as_str()), (Some(3), ""), "{err}");
    for part in [
        "On this machine:",
        ":1:23: interface `xbpnone` does not exist",
        "= give one of those there are (",
        ":1:34: no Ethernet interface fits storage*",
        ":1:46: lo is the loopback",
        ":4:8: ",
        "/none: no such file",
        ":7:8: ",
        "/: is a directory",
        "/empty: is empty",
        "/a: offset 3072 + length 1536 lies beyond its end at 4096 bytes",
        ":17:13: this process may not use a core 4711",
        ":19:11: cannot give metrics on 127.0.0.1:9464: Address already in use",
        "= Another process has port 9464",
        "9 faults",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    // The same as an ordinary user without capabilities, who may not write here.
    fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o644)).unwrap();
    let text = "interfaces = ['xbp0']\n[[export]]\naddress = '0.1'\npath = '%/a'\n";
    let file = configuration(&dir, text);
    let mut command = public_copy(&dir);
    command.args(["check", "--config", &file]).uid(65534).gid(65534);
    let (code, _, err) = finish(&pair, command);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("lacks CAP_NET_ADMIN") && err.contains("/a: may not be written"), "{err}");
}

#[apply(needs_root!)]
fn what_the_user_of_the_service_may_not_open_is_told_and_no_fault() {
    let (pair, dir) = (Pair::new(), Dir::new());
    // Else there is one more warning.
    pair.ours.sh(&format!("ethtool -K {OURS} rxvlan off rx-vlan-stag-hw-parse off"));
    let on = dir.path().to_owned();
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (name, owner, group, mode) in [
        ("own", 4321, 0, 0o600),
        ("grouped", 0, 4322, 0o660),
        ("readable", 0, 0, 0o644),
        ("secret", 0, 0, 0o600),
    ] {
        let path = dir.image(name, 8).path().to_owned();
        chown(&path, Some(owner), Some(group)).unwrap();
        chmod(&path, mode);
    }
    let exports: String = (1..)
        .zip(["own", "grouped", "readable", "secret", "readable"])
        .map(|(slot, name)| {
            let more = if slot == 5 { "read-only = true\noffset = 4\n" } else { "length = 4\n" };
            format!("[[export]]\naddress = '0.{slot}'\npath = '%/{name}'\n{more}")
        })
        .collect();
    let file = configuration(&dir, &format!("interfaces = ['{OURS}']\n{exports}"));
    // A machine with that user, who has a second group.
    let user = "xblade:x:4321:4321::/:/bin/false";
    let at = on.display();
    let setup = format!(
        "grep -v ^xblade: /etc/passwd >{at}/passwd && cp /etc/group {at} && echo {user} >>{at}/passwd && echo more:x:4322:xblade >>{at}/group && \
         mount --bind {at}/passwd /etc/passwd && mount --bind {at}/group /etc/group"
    );
    let check = || {
        let (code, out, err) = finish(&pair, xblade_after(&setup, &format!("check --config {file}")));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        out.lines().filter(|line| line.starts_with("WARN")).map(str::to_owned).collect::<Vec<_>>()
    };
    chmod(&on, 0o755);
    let who = "the service, as the user xblade, could not";
    let end = ", if this configuration is for the service";
    let row = |slot, what, name: &str, rights| {
        let path = format!("{at}/{name}");
        format!(
            "WARN  0.{slot}: {who} {what} {path}: chown xblade {path}, or setfacl -m u:xblade:{rights} {path}{end}"
        )
    };
    assert_eq!(check(), [row(3, "write", "readable", "rw"), row(4, "read", "secret", "rw")]);
    chmod(&on, 0o700);
    let warnings = check();
    assert_eq!(warnings.len(), 6, "{warnings:?}");
    let folder = format!(", because it cannot enter {at}: setfacl -m u:xblade:x {at}, or move the file{end}");
    assert!(warnings.iter().all(|line| line.ends_with(&folder)), "{warnings:?}");
    chmod(&on, 0o755);
    chmod(Path::new(&file), 0o600);
    let own = format!("WARN  {who} read {file}: chgrp xblade {file} && chmod g+r {file}{end}");
    assert_eq!(check()[0], own);
    // No such output if the user does not exist.
    let (code, out, _) = run(&pair, &format!("check --config {file}"));
    assert!(code == Some(0) && !out.contains("WARN"), "{out}");
}

#[apply(needs_root!)]
fn what_is_shown_can_be_served() {
    let (pair, dir) = (Pair::new(), Dir::new());
    dir.image("a", 8);
    let file = configuration(
        &dir,
        "interfaces = ['xbp0']\n[[export]]\naddress = '0.1'\npath = '%/a'\n\
         [service]\ncontrol = '%/control'\nmetrics = '127.0.0.1:9464'\nstate = 'none'\n",
    );
    let (code, shown, err) = run(&pair, &format!("show --config {file}"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in
        ["buffer-count = 64", "durability = \"durable\"", "rx-ring = \"auto\"", "allow = \"everybody\""]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let file = configuration(&dir, &shown);
    let (_, again, _) = run(&pair, &format!("show --config {file}"));
    assert_eq!(again, shown);
    let (code, json, _) = run(&pair, &format!("show --json --config {file}"));
    assert!(code == Some(0) && json.contains("\"buffer-count\": 64"), "{json}");
    pair.ours.sh("ip link set lo up");
    let daemon = serving_file(&pair.ours, &file);
    // Resources used by a process that serves this file are no problem of the machine.
    let (code, out, err) = run(&pair, &format!("check --config {file}"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    // But a port used by another process is.
    let _taken = pair.ours.run(|| TcpListener::bind("127.0.0.1:9465").unwrap());
    let other = dir.path().join("other.toml");
    fs::write(&other, fs::read_to_string(&file).unwrap().replace(":9464", ":9465")).unwrap();
    let (code, _, err) = run(&pair, &format!("check --config {}", other.display()));
    assert!(code == Some(3) && err.contains("cannot give metrics on 127.0.0.1:9465"), "{err}");
    // Every check that runs without a file runs here too.
    let (_, plain, _) = run(&pair, &format!("check --interface {OURS}"));
    for line in plain.lines().filter(|line| line.contains(OURS) || line.contains("kernel ")) {
        assert!(out.contains(line), "{line}: {out}");
    }
    daemon.stop();
}

/// A restart would fail with the same message, and hosts would have no disks.
#[apply(needs_root!)]
fn a_reload_with_an_interface_that_cannot_be_served_does_not_ask_for_a_restart() {
    let (pair, dir) = (Pair::new(), Dir::new());
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    let rest = "probe = false\n[[export]]\naddress = '0.1'\nstore = 'null'\nlength = 8\n\
                [service]\ncontrol = 'none'\nstate = 'none'\n";
    let file = configuration(&dir, &format!("interfaces = ['{OURS}']\n{rest}"));
    let daemon = serving_file(&pair.ours, &file);
    for (name, said) in [
        ("xbpnone", "interface `xbpnone` does not exist"),
        ("lo", "lo is the loopback"),
        ("none*", "no Ethernet interface fits none*"),
        ("xbp2", "interfaces cannot change while xblade runs: restart it"),
    ] {
        configuration(&dir, &format!("interfaces = ['{OURS}', '{name}']\n{rest}"));
        daemon.signal(libc::SIGHUP);
        daemon.wait_for(&format!("nothing was changed: {said}"));
    }
    // Its user is not root.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("let the user of this process read it (chmod a+r FILE, and a+x for its folders)");
    daemon.stop();
}

#[apply(needs_root!)]
fn the_loopback_is_refused_and_not_looked_at() {
    let pair = Pair::new();
    let (code, out, _) = run(&pair, "check --interface lo");
    let of_it: Vec<&str> =
        out.lines().filter(|line| line.contains("lo: ") || line.contains("lo is")).collect();
    assert_eq!(of_it, ["FIX   lo is the loopback: name the interface that the other hosts are on"]);
    assert_eq!(code, Some(3));
}

/// It can be served, and an operator who thinks that the cable is plugged in gets a
/// warning.
#[apply(needs_root!)]
fn an_interface_that_is_down_is_shown_once() {
    let (pair, dir) = (Pair::new(), Dir::new());
    pair.ours.sh(&format!("ip link set {OURS} down"));
    let export = "[[export]]\naddress = '0.1'\nstore = 'null'\nlength = 8\n";
    let file = configuration(&dir, &format!("interfaces = ['xb*', '*p0']\n{export}"));
    for words in [format!("check --config {file}"), format!("check --interface {OURS}")] {
        let (code, out, err) = run(&pair, &words);
        assert_eq!(code, Some(0), "{out}{err}");
        let line = format!("WARN  {OURS} is down, so no host reaches it: ip link set {OURS} up");
        assert_eq!(out.lines().filter(|one| *one == line).count(), 1, "{out}");
    }
}
