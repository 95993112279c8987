//! File systems and loop devices for tests. `Drop` removes everything.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn command(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A mounted file system.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts on a folder made for it; `arguments` are those of `mount`.
    pub fn new(on: PathBuf, arguments: &[&str]) -> Self {
        fs::create_dir_all(&on).unwrap();
        command("mount", &[arguments, &[on.to_str().unwrap()]].concat()).unwrap();
        Self(on)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = command("umount", &[self.0.to_str().unwrap()]) {
            eprintln!("{error}");
            let _ = command("umount", &["--lazy", self.0.to_str().unwrap()]);
        }
    }
}

/// A loop device over a file.
pub struct Loop(PathBuf);

impl Loop {
    pub fn new(file: &Path, arguments: &[&str]) -> Self {
        let fixed = ["--find", "--show", file.to_str().unwrap()];
        Self(command("losetup", &[arguments, &fixed].concat()).unwrap().into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(error) = command("losetup", &["--detach", self.name()]) {
            eprintln!("{error}");
        }
    }
}

/// EXT4_IOC_SHUTDOWN without writing the journal.
pub fn shut_down(file: &Path) {
    const EXT4_IOC_SHUTDOWN: libc::Ioctl = libc::_IOR::<u32>(b'X' as u32, 125);
    const NOLOGFLUSH: u32 = 2;
    let file = File::open(file).unwrap();
    // SAFETY: the call reads a `u32`.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), EXT4_IOC_SHUTDOWN, &NOLOGFLUSH) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
