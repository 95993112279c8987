//! The program under test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use xblade_kit::{Daemon, Space, program};

/// The `xblade` program: `$XBLADE` if set, else the one next to this test, of the same
/// profile.
///
/// Cargo passes the path of a binary only to the tests of its own package, and does not
/// build it for others. So if cargo runs this test, the test runs cargo to build it, with
/// the feature that building the whole workspace enables as well (see `xblade::plant`).
/// In any other case both must have been built already.
pub fn xblade() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os("XBLADE").map_or_else(beside, PathBuf::from))
}

/// Starts `xblade serve` in a namespace with these arguments and this environment.
pub fn serve(space: &Space, arguments: &[String], environment: &[(&str, &str)]) -> Daemon {
    let words: Vec<&str> = std::iter::once("serve").chain(arguments.iter().map(String::as_str)).collect();
    let mut command = program(xblade(), &words);
    command.envs(environment.iter().copied());
    Daemon::spawn(space, command)
}

fn beside() -> PathBuf {
    // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM
    let test = std::env::current_exe().expect("the path of this test");
    let mut folder = test.parent().expect("a folder of the test");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("a folder above deps");
    }
    if let Some(cargo) = std::env::var_os("CARGO") {
        build(&cargo, folder);
    }
    let program = folder.join("xblade");
    assert!(program.exists(), "{} is missing: cargo build -p xblade, or set XBLADE", program.display());
    program
}

fn build(cargo: &OsString, folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "xblade", "--bin", "xblade", "--features", "plant"])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(folder.parent().expect("a target folder"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo");
    assert!(status.success(), "xblade does not build");
}
