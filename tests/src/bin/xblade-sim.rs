//! Runs the simulation for as long as one likes.
//!
//! ```text
//! xblade-sim --seeds 0..100000 [--jobs 2] [--plant NoHistory] [--blind] [--trace] [--keep-going]
//! ```
#![allow(clippy::expect_used, clippy::panic, reason = "a tool for those who test")]

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use xblade::plant::Bug;
use xblade_tests::sim::{self, Marks, Options};

struct Args {
    seeds: Range<u64>,
    jobs: u64,
    options: Options,
    keep_going: bool,
}

fn main() -> ExitCode {
    let Args { seeds, jobs, options, keep_going } = args();
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let started = Instant::now();
    let work = || {
        let (mut marks, mut ops) = (Marks::default(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || (failed.load(Ordering::Relaxed) && !keep_going) {
                return (marks, ops);
            }
            let report = sim::run(seed, options);
            for line in &report.trace {
                println!("{line}");
            }
            if let Some(failure) = report.failure() {
                println!("FAILED {failure}");
                failed.store(true, Ordering::Relaxed);
            }
            marks.merge(&report.marks);
            ops += report.ops;
        }
    };
    let (mut marks, mut ops) = (Marks::default(), 0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (more_marks, more_ops) = thread.join().expect("a worker of the simulation");
            marks.merge(&more_marks);
            ops += more_ops;
        }
    });
    print!("{marks}");
    println!("{} seeds, {ops} operations, {:.1} s", seeds.end - seeds.start, started.elapsed().as_secs_f64());
    if failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn args() -> Args {
    let mut args = Args { seeds: 0..2000, jobs: 1, options: Options::default(), keep_going: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word}: a value is missing"));
        match word.as_str() {
            "--seeds" => args.seeds = range(&value()),
            "--jobs" => args.jobs = value().parse().expect("--jobs: a number"),
            "--plant" => args.options.plant = Some(bug(&value())),
            "--trace" => args.options.trace = true,
            "--blind" => args.options.oracles = false,
            "--keep-going" => args.keep_going = true,
            _ => panic!("{word}: there are --seeds, --jobs, --plant, --blind, --trace and --keep-going"),
        }
    }
    args
}

fn range(text: &str) -> Range<u64> {
    let (start, end) = text.split_once("..").expect("--seeds: START..END");
    start.parse().expect("--seeds: a number")..end.parse().expect("--seeds: a number")
}

fn bug(name: &str) -> Bug {
    let found = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    found.unwrap_or_else(|| panic!("--plant {name}: there are {:?}", Bug::ALL))
}
