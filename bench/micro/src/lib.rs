//! The hot path of the target in pieces, measured by two tools.
//!
//! ```text
//!            ┌─► benches/hot_path.rs   criterion: time
//! [CASES] ───┤
//!            └─► bin/count.rs          callgrind: instructions (bench/counts/run)
//! ```
//!
//! Each case is built and run by the same code, so that both tools measure the same
//! thing. No case allocates or makes a system call in its measured part, except that a
//! mapped store queries the end of its file once in a turn with writes.
//!
//! This is a separate crate so that counting compiles only the target, without criterion
//! and the load generator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that fails is a benchmark that fails"
)]

mod dispatch;
mod frames;
mod lane;
mod parse;
mod turn;

use xblade_store::Kind;
use xblade_target::command::Action;
use xblade_wire::Reply;
use xblade_wire::ata::Command::{ReadSectorsExt, WriteSectorsExt};

use dispatch::Dispatch;
use frames::PAYLOAD_OFFSET;
use lane::LaneBatch;
use parse::{ForAnother, Parse};
use turn::Turn;

/// Operations per batch: the maximum number of frames that a worker takes from a lane at
/// once.
pub const BATCH: usize = xblade_ring::BATCH;

/// The number of batches after which a case is in its steady state: by then the history
/// of writes has wrapped around once.
pub const WARM_UP_BATCHES: usize = 80;

/// A piece of the hot path that does [`BATCH`] operations at a time.
pub trait Case {
    /// Prepares the next batch. Not measured.
    fn prepare(&mut self) {}

    /// Runs the batch. Measured.
    fn run(&mut self);

    /// Removes and checks the results. Not measured.
    fn finish(&mut self) {}
}

/// Creates a case.
pub type Make = fn() -> Box<dyn Case>;

/// Every case: its group, its name in the group, and its constructor.
pub const CASES: [(&str, &str, Make); 13] = [
    ("parse", "read", || Box::new(Parse::new(&frames::of_8_kib(ReadSectorsExt), usize::MAX))),
    // The first piece holds only the headers.
    ("parse", "write", || Box::new(Parse::new(&frames::of_8_kib(WriteSectorsExt), PAYLOAD_OFFSET))),
    ("parse", "query", || Box::new(Parse::new(&frames::query(), usize::MAX))),
    ("parse", "for-another", || Box::new(ForAnother::new())),
    ("dispatch", "read", || {
        Box::new(Dispatch::new(frames::of_8_kib(ReadSectorsExt), |to| {
            matches!(to, Action::Store { kind: Kind::Read, .. })
        }))
    }),
    ("dispatch", "write", || {
        Box::new(Dispatch::new(frames::of_8_kib(WriteSectorsExt), |to| {
            matches!(to, Action::Store { kind: Kind::Write, .. })
        }))
    }),
    ("dispatch", "query", || {
        Box::new(Dispatch::new(frames::query(), |to| matches!(to, Action::Reply(Reply::Query(_)))))
    }),
    ("lane", "echo", || Box::new(LaneBatch::new())),
    ("turn", "for-another", || Box::new(Turn::for_another())),
    ("turn", "read-null", || Box::new(Turn::reads(turn::null()))),
    ("turn", "read-memory", || Box::new(Turn::reads(turn::memory()))),
    ("turn", "write-null", || Box::new(Turn::writes(turn::null()))),
    ("turn", "write-memory", || Box::new(Turn::writes(turn::memory()))),
];

/// Creates a case and brings it to its steady state.
pub fn warmed_up(make: Make) -> Box<dyn Case> {
    let mut case = make();
    for _ in 0..WARM_UP_BATCHES {
        case.prepare();
        case.run();
        case.finish();
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checks in `finish` hold, also after the warm-up.
    #[test]
    fn every_case_runs() {
        for (group, name, make) in CASES {
            println!("{group}/{name}");
            let mut case = warmed_up(make);
            case.prepare();
            case.run();
            case.finish();
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names = CASES.map(|(group, name, _)| (group, name)).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CASES.len());
    }
}
