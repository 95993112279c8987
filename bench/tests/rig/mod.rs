//! Namespaces with a veth pair, in which the program runs as for a user.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// No test program uses all of it.
#![allow(dead_code)]

mod corrupting;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use xblade_kit::{Daemon, Pair, Scratch, Space};

use xblade_wire::aoe::Address;

use corrupting::CorruptingTarget;
pub use corrupting::Lie;

pub const BENCH: &str = env!("CARGO_BIN_EXE_xblade-bench");

/// A command line, program first.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

/// Runs a command line in a namespace.
pub fn output(space: &Space, words: &[&str]) -> Output {
    let mut command = command(words);
    space.run(move || command.output().unwrap())
}

/// A veth pair, with targets at its `ours`, and a directory for files.
pub struct Rig {
    targets: Vec<Daemon>,
    corrupting: Vec<CorruptingTarget>,
    pub pair: Pair,
    files: Scratch,
}

impl Rig {
    pub fn new(mtu: u32) -> Self {
        Self::with_queues(mtu, 1)
    }

    pub fn with_queues(mtu: u32, queues: u32) -> Self {
        let options = format!("mtu {mtu} numrxqueues {queues} numtxqueues {queues}");
        Self {
            targets: Vec::new(),
            corrupting: Vec::new(),
            pair: Pair::with(&options),
            files: Scratch::new(),
        }
    }

    pub fn start_target(&mut self, words: &[&str]) {
        self.targets.push(Daemon::spawn(&self.pair.ours, command(words)));
    }

    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Starts an in-memory target at 7.`slot`.
    pub fn start_corrupting(&mut self, slot: u8, lie: Lie) {
        let address = Address { shelf: 7, slot };
        self.corrupting.push(CorruptingTarget::start(&self.pair.ours, address, lie));
    }

    /// A file of zeros.
    pub fn file(&self, bytes: usize) -> String {
        let path = self.files.file("export.img", &vec![0; bytes]);
        path.to_str().unwrap().to_owned()
    }

    /// A file that looks like an ext4 file system to a check of its signature, and its
    /// bytes.
    pub fn file_with_data(&self, bytes: usize) -> (String, Vec<u8>) {
        let path = self.file(bytes);
        let mut bytes = fs::read(&path).unwrap();
        bytes[1080..1082].copy_from_slice(&[0x53, 0xEF]);
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }

    /// Runs the program at the initiators' end: its exit code, output and errors.
    pub fn bench(&self, args: &str) -> (Option<i32>, String) {
        let words: Vec<&str> = std::iter::once(BENCH).chain(args.split_whitespace()).collect();
        let output = output(&self.pair.peer, &words);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}
