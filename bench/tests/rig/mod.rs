//! Namespaces with a veth pair, in which the program runs as for a user.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// No test program uses all of it.
#![allow(dead_code)]

mod corrupting;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use xblade_wire::aoe::Address;

use corrupting::CorruptingTarget;
pub use corrupting::Lie;

pub const BENCH: &str = env!("CARGO_BIN_EXE_xblade-bench");

/// Whether these tests can run; prints the reason if not.
pub fn can_run(needed: &[&str]) -> bool {
    let missing = |program: &&&str| !sh("command", &["-v", program]).status.success();
    let lacking = match needed.iter().find(missing) {
        Some(program) => format!("`{program}` is not installed"),
        None if String::from_utf8_lossy(&sh("id", &["-u"]).stdout).trim() != "0" => "not root".to_owned(),
        None => return true,
    };
    // Not eprintln!, which the harness captures.
    let _ = writeln!(std::io::stderr(), "SKIPPED a test on a veth pair: {lacking}");
    false
}

/// Runs a program or a shell builtin.
pub fn sh(program: &str, args: &[&str]) -> Output {
    let script = format!("{program} \"$@\"");
    Command::new("sh").args(["-c", &script, "sh"]).args(args).output().unwrap()
}

pub fn ip(args: &str) {
    let output = sh("ip", &args.split_whitespace().collect::<Vec<_>>());
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Two namespaces with a veth pair, a directory for files, and a target.
pub struct Rig {
    pub name: String,
    pub files: PathBuf,
    targets: Vec<Child>,
    corrupting: Vec<CorruptingTarget>,
}

impl Rig {
    pub fn new(mtu: u32) -> Self {
        Self::with_queues(mtu, 1)
    }

    pub fn with_queues(mtu: u32, queues: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("xbb-it{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let files = std::env::temp_dir().join(&name);
        fs::create_dir(&files).unwrap();
        let rig = Self { name: name.clone(), files, targets: Vec::new(), corrupting: Vec::new() };
        ip(&format!("netns add {name}t"));
        ip(&format!("netns add {name}i"));
        ip(&format!(
            "link add xbbt netns {name}t numrxqueues {queues} numtxqueues {queues} type veth \
             peer name xbbi netns {name}i numrxqueues {queues} numtxqueues {queues}"
        ));
        ip(&format!("-n {name}t link set xbbt mtu {mtu} up"));
        ip(&format!("-n {name}i link set xbbi mtu {mtu} up"));
        rig
    }

    pub fn command(&self, end: char, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}{end}", self.name)).args(words).stdin(Stdio::null());
        command
    }

    pub fn start_target(&mut self, words: &[&str]) {
        let child = self.command('t', words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.targets.push(child);
    }

    /// Starts an in-memory target at 7.`slot`.
    pub fn start_corrupting(&mut self, slot: u8, lie: Lie) {
        let address = Address { shelf: 7, slot };
        self.corrupting.push(CorruptingTarget::start(&format!("{}t", self.name), "xbbt", address, lie));
    }

    /// A file of zeros.
    pub fn file(&self, bytes: usize) -> String {
        let path = self.files.join("export.img");
        fs::write(&path, vec![0; bytes]).unwrap();
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

    pub fn bench(&self, args: &str) -> (Option<i32>, String) {
        let words: Vec<&str> = std::iter::once(BENCH).chain(args.split_whitespace()).collect();
        let output = self.command('i', &words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in &mut self.targets {
            let _ = child.kill();
            let _ = child.wait();
        }
        for end in ['t', 'i'] {
            sh("ip", &["netns", "del", &format!("{}{end}", self.name)]);
        }
        let _ = fs::remove_dir_all(&self.files);
    }
}
