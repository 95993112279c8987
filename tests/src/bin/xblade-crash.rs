//! Kills `xblade serve`, or cuts its power, and looks whether anything that was
//! acknowledged is lost.
//!
//! ```text
//! xblade-crash kill --cycles 1000
//! xblade-crash power --cycles 1000 --fs ext4,xfs --store file
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use xblade_tests::crash::disk::FileSystem;
use xblade_tests::crash::{Options, Report, kill, power, remove_leftovers, state};

/// Crashes `xblade serve` under a verified load, and looks whether anything
/// that was acknowledged is lost. Needs root. Exit code 1: something is.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// By SIGKILL, over and over on the same file.
    Kill(Common),
    /// By shutting the file system down under it.
    Power {
        #[command(flatten)]
        common: Common,
        /// File systems; each gets all cycles.
        #[arg(long, value_delimiter = ',', default_value = "ext4,xfs")]
        fs: Vec<FileSystem>,
    },
    /// By shutting down the file system of the state folder, while a host sets
    /// config string, mask list and reservation.
    State {
        #[command(flatten)]
        common: Common,
        /// File systems; each gets all cycles.
        #[arg(long, value_delimiter = ',', default_value = "ext4,xfs")]
        fs: Vec<FileSystem>,
    },
}

#[derive(Args)]
struct Common {
    /// Crashes.
    #[arg(long, default_value_t = 100)]
    cycles: u64,
    /// Decides where writes go and how long each load lasts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `store=` of the export. Without it, what xblade takes by default.
    #[arg(long)]
    store: Option<String>,
    /// The control: `durability=volatile`, which loses, and goes on after it.
    #[arg(long)]
    volatile: bool,
    /// A bug to plant in the daemon, for example AckBeforeStable.
    #[arg(long)]
    plant: Option<String>,
    /// Go on after a loss.
    #[arg(long)]
    carry_on: bool,
    /// Writes under way.
    #[arg(long, default_value_t = 32)]
    window: usize,
    /// Where files go.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Common {
    fn options(self) -> std::io::Result<Options> {
        let stop = Arc::default();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Options {
            store: self.store,
            volatile: self.volatile,
            plant: self.plant,
            folder: self.dir,
            window: self.window,
            carry_on: self.carry_on || self.volatile,
            verbose: true,
            stop,
            ..Options::new(self.cycles, self.seed)
        })
    }
}

fn main() -> std::io::Result<ExitCode> {
    let is_whole = match Cli::parse().command {
        Command::Kill(common) => {
            let options = common.options()?;
            remove_leftovers(&options);
            say(&kill::run(&options))
        }
        Command::Power { common, fs } => on_each(common, fs, power::run)?,
        Command::State { common, fs } => on_each(common, fs, state::run)?,
    };
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each file system is run and reported, whatever the one before has shown.
fn on_each(
    common: Common,
    kinds: Vec<FileSystem>,
    run: fn(&Options, FileSystem) -> Report,
) -> std::io::Result<bool> {
    let options = common.options()?;
    remove_leftovers(&options);
    Ok(kinds.into_iter().map(|kind| say(&run(&options, kind))).fold(true, |all, each| all & each))
}

/// Tells what came out; whether nothing was lost.
fn say(report: &Report) -> bool {
    // The first ones tell most.
    for loss in report.losses.iter().take(3) {
        println!("{loss}");
    }
    println!("{report}");
    report.losing_cycles == 0
}
