//! Rates from two snapshots.

use std::time::Duration;

use crate::control::Snapshot;
use crate::control::snapshot::{Export, Interface};
use crate::observe::{ExportCounters, Operation};

/// Rates per second between two snapshots.
#[derive(Clone, PartialEq, Debug)]
pub struct Rates {
    /// The daemon's uptime.
    pub up: Duration,
    /// The time between the snapshots, or since the start if there is no earlier one.
    pub span: Duration,
    /// Their current state.
    pub interfaces: Vec<Interface>,
    /// Frames without a reply, by the place where they were dropped.
    pub drops: Vec<(String, f64)>,
    /// Workers, and the fraction of time that each was busy.
    pub busy: Vec<(u16, f64)>,
    /// Sorted by address.
    pub exports: Vec<Row>,
}

/// One export.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its address.
    pub export: String,
    /// Reads per second.
    pub reads: f64,
    /// Writes per second.
    pub writes: f64,
    /// Bytes read per second.
    pub bytes_read: f64,
    /// Bytes written per second.
    pub bytes_written: f64,
    /// The 50th, 99th and 99.9th percentile of the service times of reads and writes.
    /// `None` without requests.
    pub percentiles: Option<[Duration; 3]>,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests per second that waited for others.
    pub waited: f64,
    /// Requests that wait for a limit.
    pub limited: usize,
    /// Its state: "degraded,stuck,replaced,ro,reserved".
    pub flags: String,
}

/// The rates between two snapshots, or since the start if there is no earlier one or the
/// daemon restarted in between.
pub fn between(before: Option<&Snapshot>, now: &Snapshot) -> Rates {
    let nothing = Snapshot::default();
    let before = before.filter(|before| before.uptime_ns < now.uptime_ns).unwrap_or(&nothing);
    let span = Duration::from_nanos(now.uptime_ns - before.uptime_ns);
    let seconds = span.as_secs_f64();
    let rate = |now: u64, before: u64| per(now.saturating_sub(before), seconds);
    let drops = now.drops.iter().map(|(place, n)| {
        let earlier = before.drops.get(place).copied().unwrap_or(0);
        (place.clone(), rate(*n, earlier))
    });
    let busy = now.workers.iter().map(|worker| {
        let earlier = before.workers.iter().find(|w| w.worker == worker.worker);
        let (busy, idle) = earlier.map_or((0, 0), |w| (w.busy_ns, w.idle_ns));
        let (busy, idle) = (worker.busy_ns.saturating_sub(busy), worker.idle_ns.saturating_sub(idle));
        (worker.worker, per(busy, (busy + idle) as f64))
    });
    let new = Export::default();
    let exports = now.exports.iter().map(|export| {
        let same = |earlier: &&Export| earlier.address == export.address && !has_shrunk(earlier, export);
        row(before.exports.iter().find(same).unwrap_or(&new), export, rate)
    });
    Rates {
        up: Duration::from_nanos(now.uptime_ns),
        span,
        interfaces: now.interfaces.clone(),
        drops: drops.collect(),
        busy: busy.collect(),
        exports: exports.collect(),
    }
}

/// Whether counters fell: the export was removed and added again.
fn has_shrunk(before: &Export, now: &Export) -> bool {
    [Operation::Read, Operation::Write].iter().any(|one| now.requests_of(*one) < before.requests_of(*one))
}

fn row(before: &Export, now: &Export, rate: impl Fn(u64, u64) -> f64) -> Row {
    let flags = [
        (now.degraded, "degraded"),
        (now.stuck, "stuck"),
        (now.replaced, "replaced"),
        (now.read_only, "ro"),
        (!now.reservation.is_empty(), "reserved"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    let requests = |operation| rate(now.requests_of(operation), before.requests_of(operation));
    let counted = |of: fn(&ExportCounters) -> u64| rate(of(&now.counters), of(&before.counters));
    let times = now.times.since(&before.times);
    let percentiles = [0.5, 0.99, 0.999].map(|share| Duration::from_nanos(times.quantile(share)));
    Row {
        export: now.address.clone(),
        reads: requests(Operation::Read),
        writes: requests(Operation::Write),
        bytes_read: counted(|counters| counters.bytes_read),
        bytes_written: counted(|counters| counters.bytes_written),
        percentiles: (times.count() > 0).then_some(percentiles),
        in_flight: now.in_flight,
        waited: counted(|counters| counters.waited),
        limited: now.waiting,
        flags: flags.join(","),
    }
}

fn per(n: u64, whole: f64) -> f64 {
    if whole > 0.0 { n as f64 / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::snapshot::Worker;
    use crate::observe::Distribution;

    fn sample(up_s: u64, export: Export) -> Snapshot {
        let mut sample =
            Snapshot { uptime_ns: up_s * 1_000_000_000, exports: vec![export], ..Snapshot::default() };
        sample.drops.insert("ring".into(), up_s * 5);
        let busy_ns = up_s * 250_000_000;
        sample.workers.push(Worker { worker: 3, busy_ns, idle_ns: busy_ns * 3, ..Worker::default() });
        sample
    }

    fn export(n: u64, times: &[(u64, u64)]) -> Export {
        let ended = |operation: Operation, ok| (operation.name().to_owned(), [("ok".to_owned(), ok)].into());
        let (bytes_read, bytes_written, waited) = (n * 512, n * 1024, n * 30);
        Export {
            address: "0.1".into(),
            requests: [ended(Operation::Read, n * 10), ended(Operation::Write, n * 20)].into(),
            counters: ExportCounters { bytes_read, bytes_written, waited, ..ExportCounters::default() },
            times: Distribution(times.into()),
            ..Export::default()
        }
    }

    #[test]
    fn rates_are_those_of_the_interval() {
        let before = sample(10, export(10, &[(1_000, 90), (5_000, 10)]));
        let now = sample(14, export(18, &[(1_000, 90), (2_000, 98), (5_000, 11), (9_000, 1)]));
        let rates = between(Some(&before), &now);
        let row = &rates.exports[0];
        assert_eq!((row.reads, row.writes, row.waited), (20.0, 40.0, 60.0));
        assert_eq!((row.bytes_read, row.bytes_written), (1024.0, 2048.0));
        assert_eq!((rates.drops[0].1, rates.busy[0]), (5.0, (3, 0.25)));
        // 100 new observations: 98 of 2 us, one of 5, one of 9. Earlier ones do not
        // count.
        assert_eq!(row.percentiles, Some([2_000, 5_000, 9_000].map(Duration::from_nanos)));
    }

    #[test]
    fn without_requests_there_are_no_percentiles() {
        let before = sample(10, export(10, &[(1_000, 90)]));
        let now = sample(11, export(10, &[(1_000, 90)]));
        assert_eq!(between(Some(&before), &now).exports[0].percentiles, None);
        assert_eq!(between(Some(&now), &now).span, Duration::from_secs(11), "the same sample twice");
    }

    #[test]
    fn after_a_restart_and_for_a_new_export_all_is_new() {
        let before = sample(100, export(50, &[(1_000, 90)]));
        let now = sample(2, export(4, &[(1_000, 7)]));
        let rates = between(Some(&before), &now);
        assert_eq!((rates.span, rates.exports[0].reads), (Duration::from_secs(2), 20.0));
        assert_eq!(between(None, &now), rates);
        // Removed and added again under the same daemon: counters fell.
        let again = sample(101, export(1, &[(1_000, 3)]));
        let row = &between(Some(&before), &again).exports[0];
        assert_eq!((row.reads, row.percentiles.is_some()), (10.0, true));
    }
}
