//! Requests to several exports at once: to a broadcast shelf or slot.
//!
//! One such frame of 60 bytes asks for as much work as there are exports. So only a few of
//! them are visited in a turn, fewer while other requests are executed, and the rest in later
//! turns. The requests take turns, and each host may have only a few.

use std::collections::VecDeque;

use super::Head;
use super::directory::{Directory, Owner, Step};
use super::hosts;
use crate::ring::Frame;
use crate::wire::aoe::Address;

/// Maximum number of requests, of all hosts, of one, and of all that are not in the table.
const REQUESTS_MAX: usize = 64;
const PER_HOST_MAX: usize = 4;
const UNKNOWN_MAX: usize = 16;

/// Exports visited in a turn that executes nothing else.
const IDLE_STEPS: usize = 4;

/// In other turns, one export is visited for this many requests.
const BUSY_SHARE: usize = 16;

/// A request to several exports.
#[derive(Debug)]
pub(super) struct FanOut {
    pub frame: Frame,
    pub head: Head,
    /// Position of the lane that received it, among those of the worker.
    pub at: usize,
    /// When it was received.
    pub received_ns: u64,
    /// Lower bound of its arrival time, if it has no stamp.
    pub since_ns: u64,
    /// The last export visited or passed by.
    pub visited: Option<Address>,
    /// Whether it goes to any.
    pub found: bool,
}

/// The requests to several exports that a worker works on.
#[derive(Debug)]
pub(super) struct FanOuts {
    waiting: VecDeque<FanOut>,
}

impl FanOuts {
    /// None. Allocates all memory.
    pub fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(REQUESTS_MAX) }
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a request. Returns its frame if there are too many, of its host or in all.
    pub fn push(&mut self, request: FanOut) -> Result<(), Frame> {
        let host = request.head.host;
        let most = if hosts::is_unknown(host) { UNKNOWN_MAX } else { PER_HOST_MAX };
        let count = self.waiting.iter().filter(|other| other.head.host == host).count();
        if count >= most || self.waiting.len() >= REQUESTS_MAX {
            return Err(request.frame);
        }
        self.waiting.push_back(request);
        Ok(())
    }

    /// Number of exports to visit in a turn that executed this many other requests.
    pub fn steps(others: usize) -> usize {
        if others == 0 { IDLE_STEPS } else { (others / BUSY_SHARE).max(1) }
    }

    /// The request whose turn it is, and where it goes next, if it goes on. Return it with
    /// [`Self::push_back`].
    pub fn next(&mut self, directory: &Directory) -> Option<(FanOut, Option<(Address, Owner)>)> {
        let mut request = self.waiting.pop_front()?;
        match directory.step(&request.head.header, request.visited) {
            Step::To(address, owner) => {
                request.found = true;
                Some((request, Some((address, owner))))
            }
            Step::Past(address) => {
                request.visited = Some(address);
                self.push_back(request);
                None
            }
            Step::End => Some((request, None)),
        }
    }

    /// Puts a request back behind the others.
    pub fn push_back(&mut self, request: FanOut) {
        self.waiting.push_back(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_turn_visits_fewer_exports() {
        let steps = [0, 1, 15, 16, 31, 32, 64].map(FanOuts::steps);
        assert_eq!(steps, [4, 1, 1, 1, 1, 2, 4]);
    }
}
