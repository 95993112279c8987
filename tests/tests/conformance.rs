//! Every rule, on whole workers with rings in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use xblade_tests::{Bench, FakeTarget, Plan, Stand, Variant, rules};

/// With this chunk size, and with the exports spread over some workers.
fn conforms(chunk_bytes: u32, workers: u16) {
    for variant in Variant::ALL {
        println!("{variant:?}, chunks of {chunk_bytes} bytes, {workers} workers");
        let stand = Stand::new();
        let plan = Plan { chunk_bytes, mtu: variant.mtu, ..Plan::of(&stand, workers) };
        let mut target = FakeTarget::new(plan);
        rules::check_all(|_, check| check(&mut Bench::new(&mut target, &stand, variant)));
        target.assert_at_rest();
    }
}

#[test]
fn one_worker_with_chunks_of_4096() {
    conforms(4096, 1);
}

#[test]
fn one_worker_with_chunks_of_2048() {
    conforms(2048, 1);
}

#[test]
fn three_workers() {
    conforms(4096, 3);
}
