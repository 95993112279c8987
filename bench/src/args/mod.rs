//! The command line.

mod compare;
mod load;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::aoe::Address;

pub use compare::{CompareArgs, TwoHosts};
pub use load::{LoadArgs, Op, PortKind};

/// Finds, loads and measures ATA-over-Ethernet targets.
#[derive(Parser, Debug)]
#[command(name = "xblade-bench", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the exports that answer on an interface.
    Discover(DiscoverArgs),
    /// Load exports, in a closed or an open loop, and report rate and latency.
    Load(Box<LoadArgs>),
    /// Answer like a target, without a store: the ceiling of the path.
    Echo(EchoArgs),
    /// Measure xblade, vblade, the echo and fio in turn, on a veth pair or between two hosts.
    Compare(Box<CompareArgs>),
    /// Render a stored result again.
    Report(ReportArgs),
}

/// The word for a value on the command line.
pub fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
}

/// Arguments of `discover`.
#[derive(clap::Args, Debug)]
pub struct DiscoverArgs {
    /// Interface to ask on.
    #[arg(short, long, value_name = "IF")]
    pub interface: String,
    /// How long to wait for answers, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub wait_ms: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `echo`.
#[derive(clap::Args, Debug)]
pub struct EchoArgs {
    /// Interface to answer on.
    #[arg(short, long, value_name = "IF")]
    pub interface: String,
    /// Address to answer at.
    #[arg(long, value_name = "SHELF.SLOT", default_value = "0.1")]
    pub export: Address,
    /// Answer also at the slots after it, as this many exports.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub exports: u8,
    /// Pin to this core.
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<usize>,
    /// Never sleep.
    #[arg(long)]
    pub spin: bool,
    /// Requests in flight to advertise.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub buffer_count: u16,
}

/// Arguments of `report`.
#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    /// The result file, as `load --json` and `--report` (its result.json) write it.
    #[arg(value_name = "RESULT.json")]
    pub result: PathBuf,
    /// Write the report with all its files to this directory, which must be new or empty.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_interface_has_a_short_form_and_a_hint() {
        for command in ["discover", "echo", "load --export 0.1"] {
            let line = format!("xblade-bench {command}");
            for short in [format!("{line} -i eth1"), format!("{line} --interface eth1")] {
                assert!(read(&short).is_ok(), "{short}: {:?}", read(&short).err().map(|e| e.to_string()));
            }
            let said = read(&format!("{line} --netif eth1"))
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(said.contains("'--interface'"), "{said}");
        }
    }
}
