//! Dispatch: from a parsed request to an action.

use std::hint::black_box;

use xblade_store::{Geometry, Kind};
use xblade_target::command::{self, Action};
use xblade_target::shelf::{ReplyLimit, State};
use xblade_wire::{Reply, Request};

use crate::frames::{self, ADVERT, MTU, READ, WRITE};
use crate::{BATCH, Case};

/// Dispatches a parsed request.
pub struct Dispatch {
    request: Request<'static>,
    state: State,
}

impl Dispatch {
    /// A read of 8 KiB.
    pub fn read() -> Self {
        Self::of(frames::transfer(READ, 1, 8, 16), |action| {
            matches!(action, Action::Store { kind: Kind::Read, .. })
        })
    }

    /// A write of 8 KiB.
    pub fn write() -> Self {
        Self::of(frames::transfer(WRITE, 1, 8, 16), |action| {
            matches!(action, Action::Store { kind: Kind::Write, .. })
        })
    }

    /// A query of the config string.
    pub fn query() -> Self {
        Self::of(frames::query(), |action| matches!(action, Action::Reply(Reply::Query(_))))
    }

    fn of(request: Request<'static>, is_right: impl Fn(&Action<'_>) -> bool) -> Self {
        let mut state = State::new(frames::settings(), Geometry::new(1 << 20, 512));
        state.set_config(b"a config string").expect("a short string");
        let mut dispatch = Self { request, state };
        let action = dispatch.execute();
        assert!(is_right(&action), "{action:?}");
        dispatch
    }

    fn execute(&mut self) -> Action<'_> {
        command::execute(black_box(&self.request), &mut self.state, ADVERT, ReplyLimit::new(MTU, u8::MAX))
    }
}

impl Case for Dispatch {
    fn run(&mut self) {
        for _ in 0..BATCH {
            black_box(&self.execute());
        }
    }
}
