//! Runs one case under callgrind. Used by bench/counts/run, which has callgrind count
//! only inside `measured_run`.
//!
//! usage: xblade-count --list
//!        xblade-count CASE BATCHES     prints the number of measured operations

use std::hint::black_box;
use std::process::ExitCode;
use std::thread;

use xblade_micro::{BATCH, CASES, Case, warmed_up};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => {
            CASES.iter().for_each(|(group, name, _)| println!("{group}/{name}"));
            Ok(())
        }
        [case, batches] => count(case, batches),
        _ => Err("usage: xblade-count --list | CASE BATCHES".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xblade-count: {why}");
            ExitCode::from(2)
        }
    }
}

/// Runs the case on its own thread, whose stack and heap begin at a page boundary.
/// Arguments and environment move those of the main thread, and the cost of a copy
/// depends on the alignment of its ends.
fn count(case: &str, batches: &str) -> Result<(), String> {
    let called = |(group, name, _): &&(&str, &str, _)| format!("{group}/{name}") == case;
    let (.., make) = CASES.iter().find(called).ok_or_else(|| format!("no case {case:?}: see --list"))?;
    let batches: usize =
        batches.parse().map_err(|error| format!("{batches:?} is no number of batches: {error}"))?;
    let work = move || {
        let mut case = warmed_up(*make);
        for _ in 0..batches {
            case.prepare();
            measured_run(&mut *case);
            case.finish();
        }
    };
    thread::spawn(work).join().map_err(|_| "the case failed".to_owned())?;
    println!("{}", batches * BATCH);
    Ok(())
}

/// The part that callgrind counts.
#[inline(never)]
fn measured_run(case: &mut dyn Case) {
    case.run();
    // Without it the call above may become a tail jump, which callgrind would not count.
    black_box(());
}
