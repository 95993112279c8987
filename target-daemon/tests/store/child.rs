//! Child processes: this binary started again in a role.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use xblade::store::{Access, OpenOptions, Store};

use crate::fixture::{open, read, refusal, volatile};

const ROLE: &str = "XBLADE_STORE_TEST_ROLE";
const FILE: &str = "XBLADE_STORE_TEST_FILE";

/// A child that has done its part and waits; killed on drop.
pub struct Waiting(Child);

impl Waiting {
    pub fn new(role: &str, file: &Path) -> Self {
        let mut child = start(role, file);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("READY")), "{role} did not get ready");
        Self(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a child to its end.
pub fn ending(role: &str, file: &Path) -> ExitStatus {
    start(role, file).wait().unwrap()
}

fn start(role: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::role", "--nocapture", "--include-ignored"])
        .env(ROLE, role)
        .env(FILE, file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test: the entry point of a child.
#[test]
#[ignore = "it is the entry of child processes"]
fn role() {
    let (Ok(role), Ok(file)) = (std::env::var(ROLE), std::env::var(FILE)) else {
        return;
    };
    let file = Path::new(&file);
    match role.as_str() {
        "store" => wait_with(open(&volatile(file))),
        "posix lock" => wait_with(lock_as_process(file)),
        "fault elsewhere" => fault_elsewhere(file),
        "pin without a right to" => pin_without_a_right_to(file),
        "signal from outside" => signal_from_outside(file),
        _ => panic!("{role}?"),
    }
}

fn wait_with<T>(held: T) {
    println!("\nREADY");
    std::io::stdout().flush().unwrap();
    // Until the parent kills this process or exits.
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(held);
}

/// A traditional POSIX lock, which names its process.
fn lock_as_process(file: &Path) -> std::fs::File {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    // SAFETY: all-zero is valid: the whole file.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: a valid descriptor and a valid `flock`.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &range) };
    assert_eq!(result, 0);
    file
}

/// A store with the guard installed, and then a faulting access elsewhere in the program.
fn fault_elsewhere(path: &Path) {
    let mut store = guarded(path);
    let file = std::fs::OpenOptions::new().read(true).open(path).unwrap();
    let mapping = memmap2::MmapOptions::new().len(8192).map_raw_read_only(&file).unwrap();
    // SAFETY: deliberately unsafe: the page is beyond the end of the file.
    let byte = unsafe { mapping.as_ptr().add(4096).read_volatile() };
    println!("survived with {byte}, {:?}", read(&mut *store, 0, 512));
}

/// As a service without CAP_IPC_LOCK.
fn pin_without_a_right_to(path: &Path) {
    let limit = libc::rlimit { rlim_cur: 65536, rlim_max: 65536 };
    // SAFETY: a valid `rlimit`.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) }, 0);
    // SAFETY: no pointers. This user has no capabilities.
    assert_eq!(unsafe { libc::setuid(65534) }, 0);
    let options =
        OpenOptions { pin: true, access: Access::Mapped, read_only: true, ..OpenOptions::new(path) };
    let message = refusal(&options);
    for part in ["pinned", "2097152 bytes", "limit for locked memory is 65536", "ulimit -l", "leave pin out"]
    {
        assert!(message.contains(part), "{message}");
    }
}

fn signal_from_outside(path: &Path) {
    let _store = guarded(path);
    // SAFETY: a signal to this process.
    unsafe { libc::raise(libc::SIGBUS) };
}

/// A store whose guard has been shown to work.
fn guarded(path: &Path) -> Box<dyn Store> {
    let mut store = open(&volatile(path));
    crate::fixture::truncate(path, 4096);
    read(&mut *store, 8, 512).unwrap_err();
    read(&mut *store, 0, 512).unwrap();
    store
}
