//! Times every case: `cargo bench -p xblade-micro`.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use xblade_micro::{BATCH, CASES, Case, warmed_up};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (group, name, make) in CASES {
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(BATCH as u64));
        let mut case = None;
        group.bench_function(name, |bencher| {
            // Created here, so that a case that is filtered out costs nothing.
            let case = case.get_or_insert_with(|| warmed_up(make));
            bencher.iter_custom(|batches| (0..batches).map(|_| timed(&mut **case)).sum());
        });
        group.finish();
    }
    criterion.final_summary();
}

/// The time of one batch, without preparation and checks.
fn timed(case: &mut dyn Case) -> Duration {
    case.prepare();
    let began = Instant::now();
    case.run();
    let took = began.elapsed();
    case.finish();
    took
}
