//! The mask list. The check that the requester is on it happened on arrival, so an edit
//! that removes the requester still gets its reply.

use super::{Action, refuse, refuses_changes};
use crate::shelf::State;
use crate::wire::aoe;
use crate::wire::mask::{DIRECTIVE_LEN, Directive, Error, Reply, Request};

pub(super) fn execute<'a>(request: Request<'_>, state: &'a mut State) -> Action<'a> {
    let reply = match request {
        Request::Read => Reply::List { code: 0, macs: state.mask() },
        Request::Edit(directives) => match edit(state, directives) {
            Ok(()) => Reply::List { code: 1, macs: state.mask() },
            Err((error, index)) => Reply::Stopped { error, index },
        },
        Request::Overrun | Request::Unknown(_) => return refuse(aoe::Error::Argument),
    };
    Action::Reply(crate::wire::Reply::Mask(reply))
}

/// Applies the directives up to the first that fails; those before it remain applied.
/// Adding an address already on the list, or deleting one that is not, succeeds: a
/// retransmission looks like that. If hosts may change nothing, the first directive that
/// would change the list fails.
fn edit(state: &mut State, directives: &[[u8; DIRECTIVE_LEN]]) -> Result<(), (Error, u8)> {
    let refuses = refuses_changes(state);
    for (index, directive) in (0..=u8::MAX).zip(directives) {
        match Directive::parse(*directive) {
            Directive::None => {}
            Directive::Add(mac) if refuses && !state.mask().contains(&mac) => {
                return Err((Error::Unspecified, index));
            }
            Directive::Delete(mac) if refuses && state.mask().contains(&mac) => {
                return Err((Error::Unspecified, index));
            }
            Directive::Add(mac) => {
                state.add_to_mask(mac).map_err(|_| (Error::ListFull, index))?;
            }
            Directive::Delete(mac) => state.delete_from_mask(mac),
            Directive::Unknown(_) => return Err((Error::BadDirective, index)),
        }
    }
    Ok(())
}
