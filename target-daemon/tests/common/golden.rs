//! Goldens: what users see, word by word, in files. `UPDATE_GOLDENS=1` writes them; read
//! the difference before you commit it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{fs, thread};

/// The folder of the goldens of `target-daemon`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Whether goldens are written, not compared.
pub fn are_updated() -> bool {
    std::env::var_os("UPDATE_GOLDENS").is_some_and(|value| value == "1")
}

/// Compares a text with the golden of this name.
#[track_caller]
pub fn check(name: &str, text: &str) {
    check_file(&folder().join(name), text);
}

/// Compares a text with a file; fails with the difference.
#[track_caller]
pub fn check_file(golden: &Path, text: &str) {
    if are_updated() {
        assert!(std::env::var_os("CI").is_none(), "UPDATE_GOLDENS=1 has no place in CI");
        return fs::write(golden, text).unwrap();
    }
    let before = fs::read_to_string(golden).unwrap_or_default();
    assert!(
        before == text,
        "not as in {} (UPDATE_GOLDENS=1 accepts it):\n{}",
        golden.display(),
        difference(golden, text)
    );
}

/// Each change below the section that it is in.
fn difference(golden: &Path, text: &str) -> String {
    let mut diff = Command::new("diff");
    diff.args(["-uN", "-F", "^### ", "--label", "golden", "--label", "now"]).arg(golden).arg("-");
    let mut child = diff.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || to.write_all(text.as_bytes()));
        child.wait_with_output().unwrap()
    });
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sections of a golden, one for each thing that was asked or done.
#[derive(Default)]
pub struct Transcript {
    pub text: String,
    /// What differs between machines and runs, and what stands for it.
    pub replaced: Vec<(String, String)>,
}

impl Transcript {
    /// From now on `what` stands for `value`.
    pub fn replace(&mut self, value: impl ToString, what: &str) {
        self.replaced.push((value.to_string(), what.to_owned()));
    }

    pub fn add(&mut self, title: &str, text: &str) {
        let mut section = format!("### {}\n{}\n\n", title.trim_end(), text.trim_end());
        for (value, what) in &self.replaced {
            section = section.replace(value, what);
        }
        self.text += &section;
    }

    /// Runs the program with these words, and adds its exit code and all that it prints.
    pub fn run(&mut self, title: &str, command: &mut Command) {
        // What clap wraps its lines by. It would find a terminal as well, were there one.
        let Output { status, stdout, stderr } = command.env_remove("COLUMNS").output().unwrap();
        let mut said = String::from_utf8_lossy(&stdout).into_owned();
        if !stderr.is_empty() {
            let _ = write!(said, "--- standard error\n{}", String::from_utf8_lossy(&stderr));
        }
        self.add(title, &format!("exit code {}\n{said}", status.code().unwrap()));
    }
}
