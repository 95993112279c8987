//! The snapshot as OpenMetrics text, over HTTP.
//!
//! ```text
//! Prometheus ─► listener.rs ─ Request::Snapshot ─► control thread
//!        text ◄─ text.rs, buckets.rs ◄─ Snapshot
//! ```

mod buckets;
mod listener;
mod text;

use std::time::Duration;

pub use crate::observe::family::{ALL as FAMILIES, Family, Kind};
pub use listener::{bind, converse, start};
pub use text::Format;

use super::snapshot::{ByOperation, Changes, Counters, Export, Interface, Lane, Snapshot, Times, Worker};
use crate::observe::{Distribution, Metric, Operation, Outcome, family};
use crate::shelf::HostSetting;
use crate::worker::ChangeOutcome;
use text::{Exposition, Labels};

/// Exported even when empty, because a rate needs a sample from before the first request.
/// Other operations are rare, and each would add as many series as these.
const ALWAYS: [Operation; 3] = [Operation::Read, Operation::Write, Operation::Flush];

/// Renders all metrics in this format.
pub fn render(snapshot: &Snapshot, format: Format) -> String {
    let mut to = Exposition::new(format);
    to.value(&family::BUILD, &[], &[&snapshot.version], 1);
    to.value(&family::UPTIME, &[], &[], Duration::from_nanos(snapshot.uptime_ns).as_secs_f64());
    snapshot.interfaces.iter().for_each(|one| interface(&mut to, one));
    snapshot.lanes.iter().for_each(|one| lane(&mut to, one));
    snapshot.workers.iter().for_each(|one| worker(&mut to, one));
    snapshot.exports.iter().for_each(|one| export(&mut to, one));
    for refused in &snapshot.refused {
        to.value(&family::REFUSED, &[("export", &refused.address)], &[], 1);
    }
    to.finish()
}

fn interface(to: &mut Exposition, one: &Interface) {
    let of: Labels<'_> = &[("interface", &one.name)];
    to.value(&family::INTERFACE, of, &[&one.mac, &one.driver, &one.mode], 1);
    to.value(&family::INTERFACE_UP, of, &[], u8::from(one.is_live()));
    to.value(&family::INTERFACE_MTU, of, &[], one.mtu);
    counters(to, of, &one.counters);
}

fn lane(to: &mut Exposition, one: &Lane) {
    let (worker, lane) = (one.worker.to_string(), one.id.to_string());
    let of: Labels<'_> = &[("interface", &one.interface), ("worker", &worker), ("lane", &lane)];
    to.value(&family::CHUNKS, of, &[], one.chunks);
    to.value(&family::CHUNKS_FREE, of, &[], one.free);
    counters(to, of, &one.counters);
}

fn worker(to: &mut Exposition, one: &Worker) {
    let worker = one.worker.to_string();
    let of: Labels<'_> = &[("worker", &worker)];
    to.value(&family::BUSY, of, &[], Duration::from_nanos(one.busy_ns).as_secs_f64());
    to.value(&family::IDLE, of, &[], Duration::from_nanos(one.idle_ns).as_secs_f64());
    counters(to, of, &one.drops);
    counters(to, of, &one.counters);
}

fn export(to: &mut Exposition, one: &Export) {
    let of: Labels<'_> = &[("export", &one.address)];
    let path = one.path.as_deref().unwrap_or_default();
    let read_only = if one.read_only { "true" } else { "false" };
    let (worker, info) = (one.worker.to_string(), [path, &one.way, &one.durability, read_only]);
    to.value(&family::EXPORT, &[("export", &one.address), ("worker", &worker)], &info, 1);
    for (family, value) in [
        (&family::SIZE, one.size_bytes),
        (&family::READ_ONLY, one.read_only.into()),
        (&family::DEGRADED, one.degraded.into()),
        (&family::STUCK, one.stuck.into()),
        (&family::REPLACED, one.replaced.into()),
        (&family::IN_FLIGHT, one.in_flight as u64),
        (&family::WAITING, one.waiting as u64),
        (&family::RESERVED, one.reservation.len() as u64),
        (&family::MASKED, one.mask.len() as u64),
    ] {
        to.value(family, of, &[], value);
    }
    counters(to, of, &Counters(one.counters.rows()));
    to.value(&family::LIMITED_TIME, of, &[], Duration::from_nanos(one.counters.limited_ns).as_secs_f64());
    let limits = &one.limits;
    for (hosts, iops, bytes) in [
        ("all", limits.iops, limits.bytes_per_second),
        ("each", limits.host_iops, limits.host_bytes_per_second),
    ] {
        iops.iter().for_each(|iops| to.value(&family::LIMIT_IOPS, of, &[hosts], iops));
        bytes.iter().for_each(|bytes| to.value(&family::LIMIT_BYTES, of, &[hosts], bytes));
    }
    for setting in HostSetting::ALL.map(HostSetting::name) {
        let Changes { changed, refused, .. } = one.changes.get(setting).cloned().unwrap_or_default();
        for (outcome, n) in ChangeOutcome::ALL.iter().zip([changed, refused]) {
            to.value(&family::HOST_CHANGES, of, &[setting, outcome.name()], n);
        }
    }
    for operation in Operation::ALL.map(Operation::name) {
        for outcome in Outcome::ALL.map(Outcome::name) {
            let n = one.requests.get(operation).and_then(|ended| ended.get(outcome)).unwrap_or(&0);
            to.value(&family::REQUESTS, of, &[operation, outcome], n);
        }
    }
    times(to, of, &family::RESPONSE, &one.response);
    times(to, of, &family::SERVICE, &one.service);
    times(to, of, &family::STORE, &one.store);
}

fn times(to: &mut Exposition, of: Labels<'_>, family: &Family, times: &ByOperation<Times>) {
    for operation in Operation::ALL {
        let none = ALWAYS.contains(&operation).then(Distribution::default);
        let times = times.get(operation.name()).map(|times| &times.all);
        if let Some(times) = times.or(none.as_ref()) {
            to.histogram(family, of, &[operation.name()], times);
        }
    }
}

fn counters(to: &mut Exposition, of: Labels<'_>, counters: &Counters) {
    for count in &counters.0 {
        if let Some(Metric { family, labels }) = count.metric {
            to.value(family, of, &labels, count.value);
        }
    }
}
