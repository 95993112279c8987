//! Query config information.

use super::{Action, refuse, refuses_changes};
use crate::shelf::State;
use crate::wire::aoe::Error;
use crate::wire::query::{Advert, Reply, Request};
use crate::wire::{self, DropReason};

pub(super) fn execute<'a>(request: Request<'_>, state: &'a mut State, advert: Advert) -> Action<'a> {
    let refusal = match request {
        Request::Read => None,
        Request::Test(string) if state.config() == string => None,
        Request::Prefix(string) if state.config().starts_with(string) => None,
        Request::Test(_) | Request::Prefix(_) => {
            return Action::Ignore(DropReason::ConfigMismatch);
        }
        Request::Set(string) => set(state, string),
        Request::ForceSet(string) => force_set(state, string),
        Request::Unknown(_) => return refuse(Error::Argument),
    };
    if refusal == Some(Error::Argument) {
        return refuse(Error::Argument);
    }
    let code = request.code();
    Action::Reply(wire::Reply::Query(Reply { code, advert, string: state.config(), refusal }))
}

/// Setting the current string again succeeds: it is the retransmission of a set whose
/// reply was lost.
fn set(state: &mut State, string: &[u8]) -> Option<Error> {
    if !state.config().is_empty() && state.config() != string {
        return Some(Error::ConfigPresent);
    }
    force_set(state, string)
}

fn force_set(state: &mut State, string: &[u8]) -> Option<Error> {
    if state.config() != string && refuses_changes(state) {
        return Some(Error::Argument);
    }
    state.set_config(string).err().map(|_| Error::Argument)
}
