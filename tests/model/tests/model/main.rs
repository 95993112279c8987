//! loom runs each model in every order that its threads can have, with every value that a
//! load can see. Next to each model are mistakes that it has to find.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chunks;
mod wake;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use xblade_model::sync::{Mistake, plant};

/// Run every order with at most this many switches away from a runnable thread. Mistakes
/// that need more are rare, but such orders are many.
const PREEMPTIONS: usize = 3;

fn run(model: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// Asserts that this model fails; `mistake` is planted in the atomics.
#[track_caller]
fn caught(mistake: impl Into<Option<Mistake>>, model: fn()) {
    let mistake = mistake.into();
    plant(mistake);
    let result = quietly(|| run(model));
    plant(None);
    assert!(result.is_err(), "{mistake:?} goes unseen");
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `act` without printing its expected panic.
fn quietly(act: impl FnOnce()) -> std::thread::Result<()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                report(panic)
            }
        }));
    });
    IS_QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(act));
    IS_QUIET.set(false);
    result
}
