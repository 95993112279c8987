//! The command line of xblade.

use std::process::ExitCode;

use clap::Parser;
use xblade::config::{Cli, Command};
use xblade::daemon;

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_millis()
        .format_target(false)
        .init();
    match cli.command {
        Command::Serve(options) => match daemon::serve(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                log::error!("{failure}");
                ExitCode::from(failure.exit_code())
            }
        },
        Command::Check(options) => {
            if daemon::check(&options) {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(3)
            }
        }
    }
}
