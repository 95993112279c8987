//! The program of this package as a daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xblade_kit::{Daemon, OURS, Space, after, leave_alone, program};

pub const XBLADE: &str = env!("CARGO_BIN_EXE_xblade");

/// `xblade` with these arguments.
pub fn xblade(arguments: &str) -> Command {
    program(XBLADE, &arguments.split_whitespace().collect::<Vec<_>>())
}

/// Runs a command for the daemon with this control socket. Its exit code and output.
pub fn asked(control: &Path, words: &str) -> (i32, String) {
    let output = xblade(words).arg("--control").arg(control).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

/// As [`asked`], for a command that succeeds. Its output.
#[track_caller]
pub fn answered(control: &Path, words: &str) -> String {
    let (code, text) = asked(control, words);
    assert_eq!(code, 0, "{words}: {text}");
    text
}

/// `xblade`, started in a new mount namespace after `setup`, a shell script that may mount.
pub fn xblade_after(setup: &str, arguments: &str) -> Command {
    after(setup, &xblade(arguments))
}

/// Starts `xblade serve` with these arguments and waits until it is ready.
pub fn serving(space: &Space, arguments: &str) -> Daemon {
    Daemon::ready(space, xblade(&format!("serve --no-probe {arguments}")))
}

/// Starts `xblade serve --config` with this file and waits until it is ready.
pub fn serving_file(space: &Space, file: &str) -> Daemon {
    leave_alone(file);
    Daemon::ready(space, xblade(&format!("serve --config {file}")))
}

/// What vblade's arguments leave in the state directory of the machine: the record of the
/// data used at the address. vblade has no option for another directory.
pub struct Record(PathBuf);

impl Record {
    pub fn new(address: &str) -> Self {
        let record = Self(Path::new("/var/lib/xblade").join(format!("{address}-{OURS}.used")));
        record.remove();
        record
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.remove();
    }
}
