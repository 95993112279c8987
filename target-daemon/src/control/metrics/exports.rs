//! The exports.

use super::buckets::Buckets;
use super::family::{self, Family};
use super::text::Exposition;
use crate::control::{ExportView, RefusedView};
use crate::observe::{Latency, Operation, Outcome};
use crate::store::{Durability, SECTOR_BYTES};

/// Told even when there were none: a rate needs a sample from before the first
/// one. Other operations are rare, and each has as many series as these.
const ALWAYS: [Operation; 3] = [Operation::Read, Operation::Write, Operation::Flush];

/// All that is told of exports.
pub fn exports(to: &mut Exposition, exports: &[ExportView], refused: &[RefusedView]) {
    let mut info = to.family(&family::EXPORT);
    for export in exports {
        let path = export.path.as_ref().map_or("".into(), |path| path.to_string_lossy());
        let durability = match export.durability {
            Durability::Durable => "durable",
            Durability::Volatile => "volatile",
        };
        let read_only = if export.read_only { "true" } else { "false" };
        let (address, worker) = (export.address.to_string(), export.worker.to_string());
        info.value(&[&address, &path, &export.way, durability, read_only, &worker], 1);
    }
    each(to, exports, &family::SIZE, |e| e.geometry.sectors * SECTOR_BYTES);
    each(to, exports, &family::READ_ONLY, |e| e.read_only.into());
    each(to, exports, &family::DEGRADED, |e| e.degraded.into());
    each(to, exports, &family::STUCK, |e| e.stuck.into());
    each(to, exports, &family::REPLACED, |e| e.replaced.into());
    let mut samples = to.family(&family::REFUSED);
    for refused in refused {
        samples.value(&[&refused.address.to_string()], 1);
    }
    each(to, exports, &family::IN_FLIGHT, |e| e.in_flight as u64);
    each(to, exports, &family::RESERVED, |e| e.reservation.len() as u64);
    each(to, exports, &family::MASKED, |e| e.mask.len() as u64);
    each(to, exports, &family::READ_BYTES, |e| e.tally.bytes_read);
    each(to, exports, &family::WRITTEN_BYTES, |e| e.tally.bytes_written);
    each(to, exports, &family::WAITED, |e| e.tally.waited);
    each(to, exports, &family::FOLDED, |e| e.tally.folded);
    each(to, exports, &family::REPEATED, |e| e.tally.repeated);
    requests(to, exports);
    times(to, &family::RESPONSE, exports, |export| &export.tally.response);
    times(to, &family::SERVICE, exports, |export| &export.tally.service);
    times(to, &family::STORE, exports, |export| &export.tally.store);
}

fn each(to: &mut Exposition, exports: &[ExportView], family: &'static Family, value: fn(&ExportView) -> u64) {
    let mut samples = to.family(family);
    for export in exports {
        samples.value(&[&export.address.to_string()], value(export));
    }
}

fn requests(to: &mut Exposition, exports: &[ExportView]) {
    let mut samples = to.family(&family::REQUESTS);
    for export in exports {
        let address = export.address.to_string();
        for operation in Operation::ALL {
            for outcome in Outcome::ALL {
                let n = export.tally.requests(operation, outcome);
                samples.value(&[&address, operation.name(), outcome.name()], n);
            }
        }
    }
}

fn times(
    to: &mut Exposition,
    family: &'static Family,
    exports: &[ExportView],
    of: fn(&ExportView) -> &Latency,
) {
    let mut samples = to.family(family);
    for export in exports {
        let address = export.address.to_string();
        for operation in Operation::ALL {
            let Some(histogram) = of(export).of(operation) else { continue };
            if !histogram.is_empty() || ALWAYS.contains(&operation) {
                samples.histogram(&[&address, operation.name()], &Buckets::new(&histogram));
            }
        }
    }
}
