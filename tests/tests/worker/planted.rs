//! Proof that the tests detect bugs: with one planted, they fail.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::thread;

use xblade::plant::{Bug, plant};

/// Asserts that every one of these tests fails with the bug.
#[track_caller]
fn caught(bug: Bug, tests: &[fn()]) {
    for (at, test) in tests.iter().enumerate() {
        plant(Some(bug));
        let result = quietly(test);
        plant(None);
        assert!(result.is_err(), "{bug:?} goes unseen by test {at}");
    }
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs the test without printing its panic: in a long log, expected failures must not
/// look like real ones.
fn quietly(test: &fn()) -> thread::Result<()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                tell(panic)
            }
        }));
    });
    IS_QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(test));
    IS_QUIET.set(false);
    result
}

#[test]
fn without_the_overlap_guard() {
    caught(
        Bug::NoOverlapGuard,
        &[
            crate::overlap::writes_that_overlap_keep_their_order,
            crate::overlap::a_block_is_written_by_one_at_a_time,
            crate::overlap::what_is_done_at_once_does_not_overtake,
        ],
    );
}

#[test]
fn without_folding() {
    caught(
        Bug::NoFolding,
        &[
            crate::copies::a_write_that_is_under_way_is_done_once_and_answered_to_everybody,
            crate::copies::a_resend_that_comes_behind_a_newer_write_does_not_undo_it,
            crate::copies::followers_are_bounded,
        ],
    );
}

#[test]
fn without_history() {
    caught(
        Bug::NoHistory,
        &[
            crate::copies::a_late_copy_does_not_bring_back_old_data,
            crate::copies::copies_of_followers_and_of_failed_writes_are_answered_as_those_were,
            crate::overlap::a_copy_of_what_was_done_at_once_is_not_done_again,
            crate::random::many,
        ],
    );
}

#[test]
fn without_the_order_of_arrival() {
    caught(
        Bug::NoArrivalOrder,
        &[
            crate::order::a_write_that_waited_at_another_worker_does_not_overwrite_a_newer_one,
            crate::order::a_write_that_waits_for_a_newer_one_is_late_afterwards,
        ],
    );
}

#[test]
fn with_held_requests_in_order() {
    caught(Bug::HeldInOrder, &[crate::fair::a_held_write_does_not_overwrite_a_newer_one]);
}

#[test]
fn without_the_second_look() {
    caught(Bug::NoSecondLook, &[crate::order::a_write_that_waits_for_a_newer_one_is_late_afterwards]);
}

#[test]
fn without_the_order_of_tags() {
    caught(Bug::NoTagOrder, &[crate::order::a_write_that_the_network_delays_is_late_by_its_tag]);
}

#[test]
fn without_the_memory_of_settings() {
    caught(
        Bug::NoSetHistory,
        &[
            crate::late_sets::a_late_copy_of_a_release_does_not_release,
            crate::late_sets::a_late_copy_of_a_refused_request_is_not_executed,
            crate::late_sets::late_copies_of_config_strings_and_masks_are_not_executed,
        ],
    );
}

#[test]
fn off_by_one_at_the_end() {
    caught(Bug::OffByOneAtEnd, &[crate::faults::a_store_sees_only_what_it_has]);
}

#[test]
fn an_aoe_error_for_the_medium() {
    caught(Bug::AoeErrorForMedium, &[crate::faults::every_fault_is_an_ata_error]);
}
