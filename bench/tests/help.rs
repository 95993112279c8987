//! What `--help` prints, word by word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../target-daemon/tests/common/golden.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod golden;

use std::path::Path;
use std::process::Command;

#[test]
fn golden_help() {
    let mut transcript = golden::Transcript::default();
    transcript.replace(env!("CARGO_PKG_VERSION"), "<version>");
    let program = xblade_bench::command();
    let words = program.get_subcommands().map(clap::Command::get_name);
    for word in [""].into_iter().chain(words) {
        for option in ["-h", "--help"] {
            let asked = format!("{word} {option}");
            let mut command = Command::new(env!("CARGO_BIN_EXE_xblade-bench"));
            transcript.run(&format!("xblade-bench {}", asked.trim()), command.args(asked.split_whitespace()));
        }
    }
    let mut version = Command::new(env!("CARGO_BIN_EXE_xblade-bench"));
    transcript.run("xblade-bench --version", version.arg("--version"));
    golden::check_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt"), &transcript.text);
}
