//! A simulation that is short enough for `tests/mutants`, which runs it once for each
//! mutation. `tests/tests/sim.rs` has the long one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use xblade_tests::sim::{Options, run};

#[test]
fn a_few_histories_can_be_explained() {
    let failures: Vec<_> = (0..60).filter_map(|seed| run(seed, Options::default()).failure()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
