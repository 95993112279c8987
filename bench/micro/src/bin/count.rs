//! Runs one case under callgrind. Used by bench/counts/run, which has callgrind count
//! only inside `measured_run`.
//!
//! usage: xblade-count --list
//!        xblade-count CASE BATCHES     prints the number of measured operations

use std::hint::black_box;
use std::process::ExitCode;
use std::thread;

use xblade_micro::{BATCH, CASES, Case, Make, warmed_up};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => {
            for (group, name, _) in CASES {
                println!("{group}/{name}");
            }
            ExitCode::SUCCESS
        }
        [case, batches] => match (find(case), batches.parse()) {
            (None, _) => fail(&format!("no case {case:?}: see --list")),
            (_, Err(error)) => fail(&format!("{batches:?} is no number of batches: {error}")),
            (Some(make), Ok(batches)) => count(make, batches),
        },
        _ => fail("usage: xblade-count --list | CASE BATCHES"),
    }
}

fn find(case: &str) -> Option<Make> {
    let wanted = case.split_once('/')?;
    CASES.iter().find(|(group, name, _)| (*group, *name) == wanted).map(|(_, _, make)| *make)
}

fn fail(why: &str) -> ExitCode {
    eprintln!("xblade-count: {why}");
    ExitCode::from(2)
}

/// Runs the case on its own thread, whose stack and heap begin at a page boundary.
/// Arguments and environment move those of the main thread, and the cost of a copy
/// depends on the alignment of its ends.
fn count(make: Make, batches: usize) -> ExitCode {
    let work = move || {
        let mut case = warmed_up(make);
        for _ in 0..batches {
            case.prepare();
            measured_run(&mut *case);
            case.finish();
        }
    };
    match thread::spawn(work).join() {
        Ok(()) => {
            println!("{}", batches * BATCH);
            ExitCode::SUCCESS
        }
        // It has printed the reason.
        Err(_) => ExitCode::FAILURE,
    }
}

/// The part that callgrind counts.
#[inline(never)]
fn measured_run(case: &mut dyn Case) {
    case.run();
    // Without it the call above may become a tail jump, which callgrind would not count.
    black_box(());
}
