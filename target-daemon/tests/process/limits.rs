//! What would exhaust the process, or mislead who reads its log: refused, bounded, escaped.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::command_line::assert_refused;
use crate::daemon::{serving, xblade};
use crate::image::Dir;
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, apply, at, needs_root};

/// Runs it with 1 GiB of address space, and returns its exit code and what it printed.
fn bounded(arguments: &[&str]) -> (Option<i32>, String) {
    let began = Instant::now();
    let mut command = Command::new("prlimit");
    command.arg("--as=1073741824").arg(crate::daemon::XBLADE).args(arguments).env_remove("RUST_BACKTRACE");
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{arguments:?}: {:?}", began.elapsed());
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn files_that_are_not_regular_or_too_long_are_not_read() {
    let dir = Dir::new();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let fifo = path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let long = path("long");
    File::create(&long).unwrap().set_len(1 << 40).unwrap();
    for (file, why) in [
        (fifo.as_str(), "it is a FIFO, and not a regular file"),
        ("/dev/zero", "it is a device, and not a regular file"),
        ("/tmp", "Is a directory"),
        (&long, "it is longer than 1048576 bytes"),
    ] {
        for command in
            [&["check", "--config"][..], &["serve", "--config"], &["show", "--config"], &["import", "vblade"]]
        {
            if (command[0], file) == ("import", "/tmp") {
                continue;
            }
            let (code, told) = bounded(&[command, &[file]].concat());
            assert_eq!(code, Some(2), "{command:?}: {told}");
            assert!(told.contains(file) && told.contains(why), "{command:?}: {told}");
        }
    }
}

/// What `serve` refuses because of the configuration, `check` refuses as well.
#[apply(needs_root!)]
fn check_is_as_strict_as_serve() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let place = dir.path().display().to_string();
    fs::write(dir.path().join("file"), "").unwrap();
    let macs: Vec<String> =
        (0..5000).map(|n| format!("'52:54:00:00:{:02x}:{:02x}'", n >> 8, n & 255)).collect();
    let macs = format!("allow = [{}]\n", macs.join(","));
    let served = |top: &str, export: &str, service: &str| {
        format!(
            "interfaces = ['{OURS}']\nprobe = false\n{top}[[export]]\naddress = '0.1'\npath = '{image}'\n{export}\
             [service]\ncontrol = 'none'\n{service}"
        )
    };
    let state = |folder: &str| format!("state = '{place}/{folder}'\n");
    fs::create_dir(dir.path().join("broken")).unwrap();
    fs::write(dir.path().join("broken/0.1-0000000000000000.state"), "nonsense").unwrap();
    let rows = [
        (served(&macs, "", "state = 'none'"), "more than 4096 hosts"),
        (served("", "worker = 9\n", "state = 'none'"), "worker 9 is not possible"),
        (served("", "", &state("file")), "is a file, and state is kept in a folder"),
        (served("", "", &state("broken")), "0000.state: cannot read the state of 0.1"),
        (
            served("", "", "state = 'none'").replace("'none'\nstate", &format!("'{place}/file'\nstate")),
            "is there and is no socket",
        ),
        (
            served("", "", "state = 'none'").replace(
                "'none'\nstate",
                &format!("'{place}/c'\ncontrol-group = 'nogroupofthisname'\nstate"),
            ),
            "there is no such group",
        ),
        (
            served("", "", "state = 'none'")
                .replace("'none'\nstate", &format!("'/{}'\nstate", "x".repeat(100))),
            "is too long for a socket",
        ),
    ];
    let file = dir.path().join("xblade.toml").display().to_string();
    for (text, part) in rows {
        fs::write(&file, &text).unwrap();
        let checked = Daemon::spawn(&pair.ours, xblade(&format!("check --config {file}"))).ended();
        let served = Daemon::spawn(&pair.ours, xblade(&format!("serve --config {file}"))).ended();
        for (what, ended) in [("check", checked), ("serve", served)] {
            assert!(matches!(ended.status.code(), Some(2 | 3)), "{what}: {part}: {}", ended.text);
            assert!(ended.text.contains(part), "{what}: {part}: {}", ended.text);
        }
    }
    pair.ours.until_detached(OURS);
}

#[apply(needs_root!)]
fn more_exports_than_the_program_has_room_for_are_refused() {
    let pair = Pair::new();
    let exports: Vec<String> =
        (0..4097).map(|n| format!("{}.{}=x,store=null,length=8", n / 255, n % 255)).collect();
    let arguments = format!("serve --state none --control none {} -i {OURS}", exports.join(" "));
    let refused = Daemon::spawn(&pair.ours, xblade(&arguments)).ended();
    assert_refused("4097 exports", &refused, 2, &["4097 exports are more than xblade serves, 4096"]);
}

#[apply(needs_root!)]
fn a_name_with_a_newline_forges_no_line() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let name = "a\n[2026-01-01T00:00:00.000Z INFO ] forged\u{1b}[2J";
    let image = dir.image(name, 64).to_string();
    let quoted = image.replace('\n', "\\n").replace('\u{1b}', "\\u001b");
    let file = dir.path().join("xblade.toml");
    let state = dir.path().join("state").display().to_string();
    let text = |more: &str| {
        format!(
            "interfaces = ['{OURS}']\nprobe = false\n[service]\ncontrol = '{0}/c'\nstate = '{state}'\n\
             [[export]]\naddress = '0.1'\npath = \"{quoted}\"\n{more}",
            dir.path().display()
        )
    };
    fs::write(&file, text("")).unwrap();
    let file = file.display().to_string();
    let daemon = crate::daemon::serving_file(&pair.ours, &file);
    let shown = name.replace('\n', "\\n").replace('\u{1b}', "\\u{1b}");
    let assert_escaped = |what: &str, text: &str| {
        assert!(
            !text.contains('\u{1b}')
                && !text.lines().any(|line| line.contains("] forged") && !line.contains("\\n["))
        );
        assert!(text.contains(&shown), "{what}: {text}");
    };
    let asked = |arguments: &str| {
        let mut command = xblade(&format!("{arguments} --control {}/c", dir.path().display()));
        let Output { stdout, stderr, .. } = pair.ours.run(move || command.output().unwrap());
        String::from_utf8([stdout, stderr].concat()).unwrap()
    };
    assert_escaped("status", &asked("status"));
    let removed = asked("export remove 0.1");
    assert!(!removed.contains('\u{1b}'), "{removed}");
    let ended = daemon.stop();
    assert_escaped("the log", &ended.text);
    // The reason for a refusal, in the file and at start.
    fs::remove_file(&image).unwrap();
    for command in ["check", "serve"] {
        let ended = Daemon::spawn(&pair.ours, xblade(&format!("{command} --config {file}"))).ended();
        assert_escaped(command, &ended.text);
    }
}

#[apply(needs_root!)]
fn the_state_of_hosts_is_not_for_every_user() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64).to_string();
    let folder = dir.path().join("new/state");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let files = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let serve = |folder: &Path, more: &str| {
        let arguments = format!(
            "serve --no-probe 0.1={image} -i {OURS} --state {} --host-settings allow {more}",
            folder.display()
        );
        let mut command = xblade(&arguments);
        // SAFETY: umask is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::umask(0);
                Ok(())
            })
        };
        let daemon = Daemon::ready(&pair.ours, command);
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        assert!(host.set_config(at(0, 1), b"x", Duration::from_secs(5)));
        drop(daemon.stop());
        pair.ours.until_detached(OURS);
    };
    serve(&folder, "");
    assert_eq!(mode(&folder), 0o750);
    let kept = files(&folder);
    assert!(!kept.is_empty());
    for file in &kept {
        assert_eq!(mode(file), 0o640, "{}", file.display());
        fs::set_permissions(file, Permissions::from_mode(0o666)).unwrap();
    }
    // As an older release has left them, one in the middle of a write.
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let temporary = folder.join("0.9-0000000000000000.state.new");
    fs::write(&temporary, "").unwrap();
    fs::set_permissions(&temporary, Permissions::from_mode(0o644)).unwrap();
    serve(&folder, "");
    assert_eq!(mode(&folder), 0o750);
    for file in files(&folder) {
        assert_eq!(mode(&file), 0o640, "{}", file.display());
    }
    // A stricter mode stays, and so does that of a folder that others use.
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    serve(&folder, "");
    assert_eq!(mode(&folder), 0o700);
    let shared = dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("other"), "").unwrap();
    for path in [&shared, &shared.join("other")] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    serve(&shared, "--user root");
    assert_eq!((mode(&shared), mode(&shared.join("other"))), (0o777, 0o777));
    assert!(serving(&pair.ours, &format!("0.1={image} -i {OURS} --state none")).stop().status.success());
}
