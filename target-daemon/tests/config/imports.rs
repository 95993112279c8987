//! Imports of vblade configurations, compared word by word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xblade::config::{self, Imported};

use crate::golden;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/vblade")
}

/// Imports, and removes the directory from the output.
fn import(paths: &[&str], commands: &[&str]) -> Imported {
    let paths: Vec<PathBuf> = paths.iter().map(|path| directory().join(path)).collect();
    let commands: Vec<String> = commands.iter().map(|line| (*line).to_owned()).collect();
    let mut imported = config::import(&paths, &commands).unwrap();
    let dir = format!("{}/", directory().display());
    imported.text = imported.text.replace(&dir, "");
    imported.remarks.iter_mut().for_each(|remark| *remark = remark.replace(&dir, ""));
    imported
}

#[test]
fn golden_imports() {
    let rows: [(&str, &[&str], &[&str]); 3] = [
        ("service", &["conf.d"], &[]),
        ("script", &["rc.local"], &[]),
        (
            "commands",
            &[],
            &[
                "vblade -m 52:54:00:00:00:01 -o 0x10 0 1 eth0 /dev/sdb",
                "-m 525400000002 -o 16 0 1 eth1 /dev/sdb",
                "/usr/sbin/vblade 0 2 eth0 '/srv/it'\\''s \"here\"' -sd",
                "0 1 eth0 /dev/sdc -r",
            ],
        ),
    ];
    for (name, paths, commands) in rows {
        let imported = import(paths, commands);
        let said = format!("{}--- standard error\n{}\n", imported.text, imported.remarks.join("\n"));
        golden::check_file(&directory().join(format!("{name}.expected")), &said);
        // The file contains every remark, too.
        for remark in &imported.remarks {
            assert!(imported.text.contains(&format!("# {remark}\n")), "{remark}");
        }
    }
    let there = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(there.filter(|path| path.extension().is_some_and(|e| e == "expected")).count(), rows.len());
}

/// Every word of a call is either in the configuration or in a remark.
#[test]
fn nothing_is_dropped_in_silence() {
    for (line, parts) in [
        ("-b 32 0 1 eth0 /d", &["buffer-count = 32"][..]),
        ("-o 5 -l 7 0 1 eth0 /d", &["offset = 5", "length = 7"]),
        ("-r 0 1 eth0 /d", &["read-only = true"]),
        ("-d -s 0 1 eth0 /d", &["store = \"direct\"", "vblade -d -s 0 1"]),
        ("-m 525400000001 0 1 eth9 /d", &["allow = [\"52:54:00:00:00:01\"]", "interfaces = [\"eth9\"]"]),
        ("0 1 eth0 /d", &["address = \"0.1\"", "path = \"/d\"", "without -s vblade acknowledged"]),
        ("nice -n 5 vblade 0 1 eth0 /d", &["of 'nice -n 5 vblade 0 1 eth0 /d' only the arguments"]),
        ("vblade 0 1 eth0 /d | tee log", &["of 'vblade 0 1 eth0 /d | tee log' only the arguments"]),
    ] {
        let imported = import(&[], &[line]);
        for part in parts {
            assert!(imported.text.contains(part), "{line}: {part}: {}", imported.text);
        }
        assert!(!imported.is_partial, "{line}");
        assert!(config::parse("f", &imported.text, "").faults.is_empty(), "{}", imported.text);
    }
}

/// A call is found anywhere in a line, or the exit code is 2.
#[test]
fn calls_within_other_commands_are_found_or_told() {
    const FOUND: bool = true;
    const TOLD: bool = false;
    for (line, found) in [
        ("su -c \"vbladed 0 6 eth1 /dev/vg/f\"", FOUND),
        ("su - root -c 'vblade 0 6 eth1 /dev/vg/f &'", FOUND),
        ("sh -c \"vbladed 0 6 eth1 /dev/vg/f\"", FOUND),
        ("su -c \"sh -c 'vbladed 0 6 eth1 /dev/vg/f'\"", FOUND),
        ("(vbladed 0 6 eth1 /dev/vg/f)", FOUND),
        ("{ vbladed 0 6 eth1 /dev/vg/f; }", FOUND),
        ("if [ -b /dev/vg/f ]; then vbladed 0 6 eth1 /dev/vg/f; fi", FOUND),
        ("start) vbladed 0 6 eth1 /dev/vg/f;;", FOUND),
        ("eval vbladed 0 6 eth1 /dev/vg/f", FOUND),
        ("daemon -r -- vblade 0 6 eth1 /dev/vg/f", FOUND),
        ("tmux new -d \"vblade 0 6 eth1 /dev/vg/f\"", FOUND),
        ("screen -dmS x vblade 0 6 eth1 /dev/vg/f", FOUND),
        ("vbladed 0 6 eth1 \\\n   /dev/vg/f", FOUND),
        ("vbladed 00 06 eth1 /dev/vg/f", FOUND),
        ("vbladed 0 6 eth1 /dev/vg/f>/var/log/vblade 2>&1&", FOUND),
        ("vbladed 0 6 eth1 '/dev/vg/f' || echo 'a; b'", FOUND),
        ("vblade-persist setup 0 6 eth1 /dev/vg/f", FOUND),
        ("ExecStart=-/usr/sbin/vblade 0 6 eth1 /dev/vg/f", FOUND),
        ("ExecStart=/bin/sh -c 'exec vblade 0 6 eth1 /dev/vg/f'", FOUND),
        ("sh -c '\nvblade 0 6 eth1 /dev/vg/f\n'", FOUND),
        ("VB=vbladed; $VB 0 6 eth1 /dev/vg/f", TOLD),
        (". /etc/default/target; $VB 0 6 eth1 /dev/vg/f", TOLD),
        ("/usr/local/sbin/my-target -r 0 6 eth1 /dev/vg/f", TOLD),
        ("vbladed 0 6 eth1 `ls /dev/vg/f`", TOLD),
        ("vbladed 0 6 eth1 $(readlink -f /dev/vg/f)", TOLD),
        ("X=$(vbladed 0 6 eth1 /dev/vg/f)", FOUND),
        ("echo \"vbladed 0 6 eth1 /dev/vg/f\" | at now", FOUND),
        ("echo 'vbladed 0 6 eth1 /dev/vg/f' >/etc/cron.d/x", FOUND),
        ("su -c 'vbladed 0 6 eth1 /dev/vg/f", TOLD),
        ("vblade-persist start all", TOLD),
    ] {
        let folder = std::env::temp_dir().join(format!("xblade-import-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("rc.local");
        fs::write(&path, format!("#!/bin/sh\nvbladed 0 1 eth1 /dev/vg/a\n{line}\n")).unwrap();
        let imported = config::import(&[path], &[]).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let is_there = imported.text.contains("\naddress = \"0.6\"\npath = \"/dev/vg/f\"\n");
        let exports = imported.text.matches("[[export]]").count();
        let expected = if found { (true, 2, false) } else { (false, 1, true) };
        assert_eq!((is_there, exports, imported.is_partial), expected, "{line}: {:#?}", imported.remarks);
    }
    // Lines that only mention vblade do not start one.
    for line in ["rm /run/vblade.pid", "After=network.target", "# vblade"] {
        let path = std::env::temp_dir().join(format!("xblade-import-harmless-{}", std::process::id()));
        fs::write(&path, format!("vblade 0 1 eth1 /dev/vg/a\n{line}\n")).unwrap();
        let imported = config::import(std::slice::from_ref(&path), &[]).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!imported.is_partial, "{line}: {:#?}", imported.remarks);
    }
}

#[test]
fn the_program_prints_the_file_and_says_the_rest() {
    let run = |words: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_xblade")).args(["import", "vblade"]).args(words).output();
        let Output { status, stdout, stderr } = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    };
    let (code, out, err) = run(&["--command", "vblade 0 1 eth0 /dev/sdb"]);
    assert!(code == Some(0) && out.contains("[[export]]") && err.contains("without -s"), "{out}{err}");
    let (code, out, err) = run(&["--command", "0 1 eth0 /a", "--command", "0 1 eth0 /b"]);
    assert!(
        code == Some(2) && out.contains("\"/b\"") && err.contains("address 0.1 is given twice"),
        "{out}{err}"
    );
    let (code, _, err) = run(&["--command", "0 1 eth0 /a", "--command", "0 2 eth0 /dev/$DISK"]);
    assert!(
        code == Some(2)
            && err.contains(
                "a shell would expand /dev/$DISK, which is not done here: write what it stands for"
            ),
        "{err}"
    );
    let (code, _, err) = run(&["/none/vblade.conf"]);
    assert!(code == Some(2) && err.contains("/none/vblade.conf: cannot read it"), "{err}");
    let (code, _, err) = run(&["--command", ""]);
    assert!(code == Some(2) && err.contains("no call of vblade was found"), "{err}");
}
