//! Conditions of the machine that must change first.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command_line::assert_refused;
use crate::daemon::{XBLADE, xblade_after};
use crate::image::Dir;
use xblade_kit::{Daemon, OURS, Pair, apply, needs_root};

/// A copy of the program that every user can run.
pub fn public_copy(dir: &Dir) -> Command {
    let copy = dir.path().join("xblade");
    // Not copied by this process: a child that another test is just starting would hold the
    // copy open for writing, and such a file cannot be executed.
    let cp = Command::new("cp").arg(XBLADE).arg(&copy).status().unwrap();
    assert!(cp.success());
    for path in [dir.path(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    Command::new(copy)
}

#[apply(needs_root!)]
fn an_ordinary_user_is_told_what_is_missing() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let mut command = public_copy(&dir);
    command.args(["serve", &format!("0.1={image}"), "-i", OURS]).uid(65534).gid(65534);
    let ended = Daemon::spawn(&pair.ours, command).ended();
    let all = "lacks CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_BPF";
    assert_refused("uid 65534", &ended, 3, &[all, "run xblade as root"]);
}

#[apply(needs_root!)]
fn a_root_without_a_capability_is_told_which() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-net_raw", XBLADE]);
    command.args(["serve", &format!("0.1={image}"), "-i", OURS]);
    let ended = Daemon::spawn(&pair.ours, command).ended();
    assert_refused("no CAP_NET_RAW", &ended, 3, &["lacks CAP_NET_RAW: run"]);
}

#[apply(needs_root!)]
fn a_file_that_cannot_be_written_is_served_only_read_only() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let on = dir.path().display();
    let setup = format!(
        "mkdir -p {on}/m && mount -t tmpfs xbp {on}/m && truncate -s 1M {on}/m/f && mount -o remount,ro {on}/m"
    );
    let serve = |options: &str| {
        let command = xblade_after(&setup, &format!("serve --no-probe 0.1={on}/m/f{options} -i {OURS}"));
        Daemon::spawn(&pair.ours, command)
    };
    assert_refused("read-only", &serve("").ended(), 3, &["/m/f: may not be written", "export it with `ro`"]);
    let daemon = serve(",ro");
    daemon.wait_for("ready:");
    assert!(daemon.wait_for("0.1: ").contains("read-only"));
    daemon.stop();
}

/// The soft limit is lower than what the exports need.
#[apply(needs_root!)]
fn the_soft_limit_of_open_files_is_raised_before_stores_are_opened() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let exports: Vec<String> = (0..40).map(|n| format!("0.{n}={}", dir.image(&n.to_string(), 8))).collect();
    let serve = format!("serve --no-probe {} -i {OURS}", exports.join(" "));
    let daemon = Daemon::spawn(&pair.ours, xblade_after("ulimit -S -n 48", &serve));
    daemon.wait_for("ready: 40 exports");
    let ended = daemon.stop();
    assert!(!ended.text.contains("is served through"), "{}", ended.text);
    // The message names the hard limit and the remedy, and nothing is served in another
    // way.
    for limit in 92..104 {
        let command =
            xblade_after(&format!("ulimit -n {limit}"), &format!("{serve} --state {}", dir.path().display()));
        let ended = Daemon::spawn(&pair.ours, command).ended();
        let named = format!("this process may have {limit} files open");
        assert_refused("ulimit -n", &ended, 3, &[&named, "raise the hard limit (ulimit -Hn, LimitNOFILE="]);
        assert!(!ended.text.contains("is served through"), "{}", ended.text);
    }
}

#[apply(needs_root!)]
fn limits_that_get_in_the_way_are_named_by_a_check() {
    let check = |setup: &str, arguments: &str| {
        let output = xblade_after(setup, &format!("check {arguments}")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (setup, line) in [
        ("ulimit -f 8", "WARN  RLIMIT_FSIZE is 4096 bytes: "),
        ("ulimit -t 4000", "WARN  RLIMIT_CPU is 4000 seconds: "),
        ("ulimit -v 8000000", "WARN  RLIMIT_AS is 8192000000 bytes: "),
        ("ulimit -n 500", "OK    open files: 500, enough for 202 exports"),
        ("ulimit -S -n 200; ulimit -H -n 500", "OK    open files: 500, enough for 202 exports"),
    ] {
        let text = check(setup, "");
        assert!(text.contains(line), "{setup}: {text}");
    }
    let text = check("ulimit -f unlimited", "");
    assert!(!text.contains("RLIMIT_"), "{text}");
    let dir = Dir::new();
    let file = dir.path().join("xblade.toml");
    let export =
        |n: u8| format!("[[export]]\naddress = '0.{n}'\npath = '{}'\n", dir.image(&n.to_string(), 8));
    let exports: String = (0..120).map(export).collect();
    fs::write(&file, format!("interfaces = ['{OURS}']\n{exports}")).unwrap();
    let pair = Pair::new();
    let mut command = xblade_after("ulimit -n 200", &format!("check --config {}", file.display()));
    let output = pair.ours.run(move || command.output().unwrap());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("WARN  open files: RLIMIT_NOFILE is 200, and 120 exports take up to 336: "),
        "{text}"
    );
}
