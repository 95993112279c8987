//! Rates from two samples.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::control::samples::{ExportSample, InterfaceSample, Sample};

/// Rates per second between two samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Rates {
    /// The daemon's uptime.
    pub up: Duration,
    /// The time between the samples, or since the start if there is no earlier one.
    pub span: Duration,
    /// Their current state.
    pub interfaces: Vec<InterfaceSample>,
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
    /// Its file or device.
    pub path: Option<String>,
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
    pub in_flight: u64,
    /// Requests per second that waited for others.
    pub waited: f64,
    /// Its state: "degraded,stuck,replaced,ro,reserved".
    pub flags: String,
}

/// The rates between two samples, or since the start if there is no earlier one or the
/// daemon restarted in between.
pub fn between(before: Option<&Sample>, now: &Sample) -> Rates {
    let nothing = Sample::default();
    let before = before.filter(|before| before.up_ns < now.up_ns).unwrap_or(&nothing);
    let span = Duration::from_nanos(now.up_ns - before.up_ns);
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
    let new = ExportSample::default();
    let exports = now.exports.iter().map(|export| {
        let same = |earlier: &&ExportSample| earlier.export == export.export && !has_shrunk(earlier, export);
        row(before.exports.iter().find(same).unwrap_or(&new), export, rate)
    });
    Rates {
        up: Duration::from_nanos(now.up_ns),
        span,
        interfaces: now.interfaces.clone(),
        drops: drops.collect(),
        busy: busy.collect(),
        exports: exports.collect(),
    }
}

/// Whether counters fell: the export was removed and added again.
fn has_shrunk(before: &ExportSample, now: &ExportSample) -> bool {
    now.reads < before.reads || now.writes < before.writes
}

fn row(before: &ExportSample, now: &ExportSample, rate: impl Fn(u64, u64) -> f64) -> Row {
    let flags = [
        (now.degraded, "degraded"),
        (now.stuck, "stuck"),
        (now.replaced, "replaced"),
        (now.read_only, "ro"),
        (now.reserved, "reserved"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    Row {
        export: now.export.clone(),
        path: now.path.clone(),
        reads: rate(now.reads, before.reads),
        writes: rate(now.writes, before.writes),
        bytes_read: rate(now.bytes_read, before.bytes_read),
        bytes_written: rate(now.bytes_written, before.bytes_written),
        percentiles: percentiles(&before.times, &now.times),
        in_flight: now.in_flight,
        waited: rate(now.waited, before.waited),
        flags: flags.join(","),
    }
}

fn per(n: u64, whole: f64) -> f64 {
    if whole > 0.0 { n as f64 / whole } else { 0.0 }
}

/// Percentiles of the observations made between the two histograms.
fn percentiles(before: &[(u64, u64)], now: &[(u64, u64)]) -> Option<[Duration; 3]> {
    let before: BTreeMap<u64, u64> = before.iter().copied().collect();
    let new = |(ns, n): &(u64, u64)| (*ns, n.saturating_sub(before.get(ns).copied().unwrap_or(0)));
    let cells: Vec<(u64, u64)> = now.iter().map(new).filter(|(_, n)| *n > 0).collect();
    let total: u64 = cells.iter().map(|(_, n)| n).sum();
    let at = |share: f64| {
        let rank = (total as f64 * share).ceil() as u64;
        let mut sum = 0;
        let cell = cells.iter().find(|(_, n)| {
            sum += n;
            sum >= rank
        });
        cell.map(|(ns, _)| Duration::from_nanos(*ns))
    };
    Some([at(0.5)?, at(0.99)?, at(0.999)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::samples::WorkerSample;

    fn sample(up_s: u64, export: ExportSample) -> Sample {
        let mut sample = Sample { up_ns: up_s * 1_000_000_000, exports: vec![export], ..Sample::default() };
        sample.drops.insert("ring".into(), up_s * 5);
        let busy_ns = up_s * 250_000_000;
        sample.workers.push(WorkerSample { worker: 3, busy_ns, idle_ns: busy_ns * 3 });
        sample
    }

    fn export(n: u64, times: &[(u64, u64)]) -> ExportSample {
        let mut export = ExportSample { export: "0.1".into(), times: times.into(), ..Default::default() };
        (export.reads, export.writes, export.waited) = (n * 10, n * 20, n * 30);
        (export.bytes_read, export.bytes_written) = (n * 512, n * 1024);
        export
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
