//! deploy/ansible/xblade.yml, run by Ansible.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::daemon::{XBLADE, answered, serving_file};
use crate::image::Dir;
use xblade_kit::{Daemon, OURS, Pair, apply, needs_root, skipped};

/// The daemon, its file and the variables of the playbook.
struct Rig {
    variables: Value,
    _daemon: Daemon,
    dir: Dir,
    _pair: Pair,
}

impl Rig {
    /// Serves 0.1 from a file that Ansible did not write.
    fn new() -> Self {
        let (pair, dir) = (Pair::new(), Dir::new());
        for name in ["a", "b", "c"] {
            dir.image(name, 64);
        }
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (file, socket, folder) = (path("file"), path("ctl"), dir.path().display());
        fs::write(
            &file,
            format!(
                "interfaces = ['{OURS}']\nprobe = false\n[service]\ncontrol = '{socket}'\nstate = 'none'\n\
                 folders = ['{folder}']\n[[export]]\naddress = '0.1'\npath = '{folder}/a'\n"
            ),
        )
        .unwrap();
        let variables = json!({
            "ansible_connection": "local",
            "ansible_become": false,
            "ansible_python_interpreter": "/usr/bin/python3",
            "xblade_program": XBLADE,
            "xblade_config": file,
            "xblade_socket": socket,
            "xblade_by_systemd": false,
            "xblade_settings": {"interfaces": [OURS], "probe": false},
            "xblade_service": {"control": socket, "state": "none", "folders": [folder.to_string()]},
        });
        let daemon = serving_file(&pair.ours, &file);
        Self { variables, _daemon: daemon, dir, _pair: pair }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the playbook for exports of these files, at 0.1 and on. Whether it succeeded, and
    /// its output.
    fn play(&self, exports: &[&str], more: &[&str]) -> (bool, String) {
        let export = |(index, name): (usize, &&str)| json!({"address": format!("0.{}", index + 1), "path": self.path(name)});
        let mut variables = self.variables.clone();
        variables["xblade_exports"] = exports.iter().enumerate().map(export).collect();
        let playbook = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/ansible/xblade.yml");
        let output = Command::new(ansible())
            .args(["--inventory", "storage1,", "--extra-vars", &variables.to_string(), playbook])
            .args(more)
            .env("ANSIBLE_LOCAL_TEMP", self.path("local"))
            .env("ANSIBLE_REMOTE_TEMP", self.path("remote"))
            .env("ANSIBLE_NOCOLOR", "1")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// As `play`, for a run that succeeds: the number of tasks that have changed something.
    #[track_caller]
    fn changed(&self, exports: &[&str], more: &[&str]) -> u32 {
        let (succeeded, text) = self.play(exports, more);
        assert!(succeeded, "{text}");
        let count = text.split("changed=").nth(1).and_then(|rest| rest.split(' ').next());
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }

    fn served(&self) -> Vec<String> {
        let status: Value = serde_json::from_str(&answered(&self.path("ctl"), "status --json")).unwrap();
        let exports = status["exports"].as_array().unwrap().iter();
        exports.map(|export| export["address"].as_str().unwrap().to_owned()).collect()
    }
}

/// That of the folder with tools for tests, else one that is installed.
fn ansible() -> PathBuf {
    let tools = Path::new(XBLADE).ancestors().nth(2).unwrap().join("tools/python/bin/ansible-playbook");
    if tools.exists() { tools } else { PathBuf::from("ansible-playbook") }
}

fn has_ansible(test: &str) -> bool {
    let runs = Command::new(ansible()).arg("--version").output().is_ok_and(|output| output.status.success());
    runs || skipped(test, "needs ansible-core (tests/run.sh installs it)")
}

#[apply(needs_root!)]
fn a_playbook_brings_the_exports_and_repeats_without_changes() {
    if !has_ansible("a_playbook_brings_the_exports_and_repeats_without_changes") {
        return;
    }
    let rig = Rig::new();
    // In check mode it changes nothing.
    assert!(rig.changed(&["a", "b"], &["--check"]) > 0);
    assert_eq!(rig.served(), ["0.1"]);
    assert_eq!(rig.changed(&["a", "b"], &[]), 2);
    assert_eq!(rig.served(), ["0.1", "0.2"]);
    assert_eq!(rig.changed(&["a", "b"], &[]), 0);

    // A file that was written, by a run that ended before the reload.
    let two = fs::read_to_string(rig.path("file")).unwrap();
    assert_eq!(rig.changed(&["a", "b", "c"], &[]), 2);
    let three = fs::read_to_string(rig.path("file")).unwrap();
    fs::write(rig.path("file"), two).unwrap();
    answered(&rig.path("ctl"), "reload");
    fs::write(rig.path("file"), three).unwrap();
    assert_eq!(rig.served(), ["0.1", "0.2"]);
    assert_eq!(rig.changed(&["a", "b", "c"], &[]), 1);
    assert_eq!(rig.served(), ["0.1", "0.2", "0.3"]);

    // A mistake: the file stays, and the message is that of xblade.
    let before = fs::read_to_string(rig.path("file")).unwrap();
    let (succeeded, text) = rig.play(&["a", "a"], &[]);
    assert!(!succeeded && text.contains("is exported twice"), "{text}");
    assert_eq!(fs::read_to_string(rig.path("file")).unwrap(), before);
    assert_eq!(rig.served(), ["0.1", "0.2", "0.3"]);
}
