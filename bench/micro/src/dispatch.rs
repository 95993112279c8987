//! Dispatch: from a parsed request to an action.

use std::hint::black_box;

use xblade_store::Geometry;
use xblade_target::command::{self, Action};
use xblade_target::shelf::{Ingress, ReplyLimit, State};
use xblade_wire::Request;

use crate::frames::{self, ADVERT, MTU};
use crate::{BATCH, Case};

/// Dispatches a parsed request.
pub struct Dispatch {
    request: Request<'static>,
    state: State,
}

impl Dispatch {
    /// For a request whose action satisfies `is_right`.
    pub fn new(request: Request<'static>, is_right: impl Fn(&Action<'_>) -> bool) -> Self {
        let mut state = State::new(frames::settings(), Geometry::new(1 << 20, 512));
        state.set_config(b"a config string").expect("a short string");
        let mut dispatch = Self { request, state };
        let action = dispatch.execute();
        assert!(is_right(&action), "{action:?}");
        dispatch
    }

    fn execute(&mut self) -> Action<'_> {
        let limit = ReplyLimit::new(MTU, u8::MAX);
        command::execute(black_box(&self.request), &mut self.state, ADVERT, limit, Ingress::default())
    }
}

impl Case for Dispatch {
    fn run(&mut self) {
        for _ in 0..BATCH {
            black_box(&self.execute());
        }
    }
}
