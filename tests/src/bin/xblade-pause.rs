//! Stops `xblade serve` for a moment, over and over, and looks whether an old
//! write has landed on a newer one that was acknowledged.
//!
//! ```text
//! xblade-pause --pauses 10000
//! xblade-pause --pauses 500 --workers 2 --tags plain --plant NoArrivalOrder
//! xblade-pause --pauses 100 --vm qmp.sock --tap tap0,tap1 --stores mmap
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use xblade_tests::pause::case::{Durability, Idle, Store, Tags, Who};
use xblade_tests::pause::vm::{self, Vm};
use xblade_tests::pause::{Options, remove_leftovers, run};

/// Stops `xblade serve` while a write waits on one lane, has its resend and a
/// newer write acknowledged on another one, and looks whether the older one
/// lands afterwards. Needs root. Exit code 1: it does, or too little was
/// acknowledged.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Pauses in all.
    #[arg(long, default_value_t = 300)]
    pauses: u64,
    /// Decides what is combined, and all times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The control: a bug to plant in the daemon, for example NoArrivalOrder.
    #[arg(long)]
    plant: Option<String>,
    /// What stands still.
    #[arg(long, value_delimiter = ',', default_value = "process,thread,cgroup")]
    who: Vec<Who>,
    /// Numbers of workers.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    workers: Vec<usize>,
    /// Numbers of interfaces.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    interfaces: Vec<usize>,
    /// What idle workers do.
    #[arg(long, value_delimiter = ',', default_value = "adaptive,spin")]
    idle: Vec<Idle>,
    /// How hosts make tags.
    #[arg(long, value_delimiter = ',', default_value = "plain,linux")]
    tags: Vec<Tags>,
    /// Stores: a mapped file in memory, a file on a disk past the page cache.
    #[arg(long, value_delimiter = ',', default_value = "mmap,direct")]
    stores: Vec<Store>,
    /// When writes are acknowledged.
    #[arg(long, value_delimiter = ',', default_value = "durable,volatile")]
    durability: Vec<Durability>,
    /// Hosts only read before the first pause: the target has not seen yet how
    /// they make tags for writes.
    #[arg(long)]
    cold: bool,
    /// The shortest pause, in milliseconds.
    #[arg(long, default_value_t = 1)]
    shortest: u64,
    /// The longest pause, in milliseconds.
    #[arg(long, default_value_t = 300)]
    longest: u64,
    /// Stop the VM that listens for QMP here, rather than a daemon of our own.
    #[arg(long, value_name = "SOCKET", requires = "tap")]
    vm: Option<PathBuf>,
    /// The taps of the VM's interfaces, with two queues each.
    #[arg(long, value_delimiter = ',')]
    tap: Vec<String>,
    /// The most sectors of a request to the VM, a power of two.
    #[arg(long, default_value_t = 2)]
    sectors: u8,
    /// Where files on a disk go.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

fn main() -> std::io::Result<ExitCode> {
    let cli = Cli::parse();
    let stop = Arc::default();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let options = Options {
        pauses: cli.pauses,
        seed: cli.seed,
        plant: cli.plant,
        who: cli.who,
        workers: cli.workers,
        interfaces: cli.interfaces,
        idle: cli.idle,
        tags: cli.tags,
        stores: cli.stores,
        durability: cli.durability,
        cold: cli.cold,
        hold_ms: (cli.shortest.max(1), cli.longest.max(cli.shortest)),
        folder: cli.dir,
        verbose: true,
        stop,
    };
    remove_leftovers(&options);
    let report = match cli.vm {
        Some(qmp) => vm::run(&options, &Vm { qmp, taps: cli.tap, sectors_max: cli.sectors })?,
        None => run(&options),
    };
    eprintln!();
    println!("{}\n{report}", report.table());
    if !report.shows_something() {
        println!("FAILED: too few writes were acknowledged for this to show anything");
    }
    Ok(if report.is_whole() && report.shows_something() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
