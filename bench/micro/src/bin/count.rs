//! Runs one case for callgrind. Used by bench/counts/run, which tells callgrind
//! to count inside of `measured_run` only.
//!
//! usage: xblade-count --list
//!        xblade-count CASE BATCHES     prints how many operations were measured

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

/// In a thread of its own: its stack and its heap begin at the start of a page,
/// wherever arguments and environment have moved those of the main thread. What
/// a copy costs depends on how its ends are aligned.
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
        // It has said why.
        Err(_) => ExitCode::FAILURE,
    }
}

/// What is counted.
#[inline(never)]
fn measured_run(case: &mut dyn Case) {
    case.run();
    // Without it the call above may become a jump, out of what is counted.
    black_box(());
}
