//! Reserve and release.

use super::{Action, refuse, refuses_changes};
use crate::shelf::State;
use crate::wire;
use crate::wire::aoe::Error;
use crate::wire::ether::Mac;
use crate::wire::reserve::{Macs, Reply, Request};

pub(super) fn execute<'a>(src: Mac, request: Request<'_>, state: &'a mut State) -> Action<'a> {
    let (code, outcome) = match request {
        Request::Read => (0, Ok(())),
        Request::Set(macs) => (1, set(src, macs, state)),
        Request::ForceSet(macs) => (2, force_set(src, macs, state)),
        Request::Overrun | Request::Unknown(_) => return refuse(Error::Argument),
    };
    match outcome {
        Ok(()) => Action::Reply(wire::Reply::Reserve(Reply { code, macs: state.reservation() })),
        Err(error) => refuse(error),
    }
}

/// Setting the current list again succeeds: it is the retransmission of a set whose reply
/// was lost, by a host that reserves for others.
fn set(src: Mac, macs: Macs<'_>, state: &mut State) -> Result<(), Error> {
    if state.is_reserved_against(src) && !is_in_force(macs, state) {
        return Err(Error::Reserved);
    }
    force_set(src, macs, state)
}

/// Where hosts may change nothing, the sole holder may still release its reservation: that
/// concerns no other host.
fn force_set(src: Mac, macs: Macs<'_>, state: &mut State) -> Result<(), Error> {
    let releases_its_own = state.reservation() == [src] && macs.iter().next().is_none();
    if refuses_changes(state) && !releases_its_own && !is_in_force(macs, state) {
        return Err(Error::Argument);
    }
    state.set_reservation(macs.iter()).map_err(|_| Error::Argument)
}

fn is_in_force(macs: Macs<'_>, state: &State) -> bool {
    macs.iter().eq(state.reservation().iter().copied())
}
