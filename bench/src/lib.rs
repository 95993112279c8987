//! xblade-bench: finds, loads and measures ATA-over-Ethernet targets.
//!
//! ```text
//! discover ─┐                    ┌─ af-packet ─┐
//! load ─────┼─► requests (aoe) ──┤    port     ├──► export
//! compare ──┘   runs load        └─ af-xdp ────┘
//!               against xblade, vblade and echo in turn
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod aoe;
mod args;
mod compare;
mod conditions;
mod cores;
mod discover;
mod echo;
mod export;
mod load;
mod outcome;
mod port;
mod report;
mod signals;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use args::{Args, Command};

/// The entry point of the program.
pub fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match run(&Args::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        // Measured, but requests failed or data was wrong.
        Ok(false) => ExitCode::from(2),
        Err(e) => {
            eprintln!("xblade-bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, for the manual pages.
pub fn command() -> clap::Command {
    Args::command()
}

/// Returns `false` if something was measured and found wrong.
fn run(command: &Command) -> Result<bool> {
    match command {
        Command::Discover(args) => discover::run(args).map(|()| true),
        Command::Load(args) => load::run(args),
        Command::Echo(args) => echo::run(args).map(|()| true),
        Command::Compare(args) => compare::run(args),
        Command::Report(args) => report::result::again(args).map(|()| true),
    }
}
