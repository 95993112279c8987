//! What programs are told, made from what there is to know.

use hdrhistogram::Histogram;

use super::{
    Brief, Counters, Export, ExportStats, Interface, InterfaceStats, LaneStats, Refused, Stats, Status,
    Times, TimesByOperation, Worker, WorkerStats,
};
use crate::control::{ExportView, InterfaceView, Overview, RefusedView};
use crate::link::Counter;
use crate::observe::{Latency, Operation, Outcome};
use crate::store::{Durability, SECTOR_BYTES};
use crate::wire::ether::Mac;
use crate::worker::Snapshot;

impl Status {
    /// Of this process.
    pub fn of(overview: &Overview) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: overview.up.as_secs(),
            interfaces: overview.interfaces.iter().map(Interface::of).collect(),
            workers: overview.workers.iter().map(|worker| Worker::of(worker, overview)).collect(),
            exports: overview.exports.iter().map(Brief::of).collect(),
            refused: overview.refused.iter().map(Refused::of).collect(),
        }
    }
}

impl Refused {
    fn of(view: &RefusedView) -> Self {
        Self {
            address: view.address.to_string(),
            path: view.path.as_ref().map(|path| path.to_string_lossy().into_owned()),
            reason: view.why.clone(),
        }
    }
}

impl Interface {
    fn of(view: &InterfaceView) -> Self {
        let facts = &view.facts;
        Self {
            name: facts.name.clone(),
            mac: Mac(facts.mac).to_string(),
            mtu: facts.mtu,
            queues: facts.queues,
            driver: facts.driver.clone(),
            up: facts.up,
            carrier: facts.carrier,
            present: view.present,
            mode: view.mode.to_owned(),
        }
    }
}

impl Worker {
    fn of(snapshot: &Snapshot, overview: &Overview) -> Self {
        let own = overview.exports.iter().filter(|export| export.worker == snapshot.worker);
        Self {
            worker: snapshot.worker,
            lanes: snapshot.lanes.iter().map(|lane| lane.name.clone()).collect(),
            exports: own.map(|export| export.address.to_string()).collect(),
        }
    }
}

impl Brief {
    fn of(view: &ExportView) -> Self {
        let durability = match view.durability {
            Durability::Durable => "durable",
            Durability::Volatile => "volatile",
        };
        Self {
            address: view.address.to_string(),
            path: view.path.as_ref().map(|path| path.to_string_lossy().into_owned()),
            size_bytes: view.geometry.sectors.saturating_mul(SECTOR_BYTES),
            way: view.way.clone(),
            read_only: view.read_only,
            durability: durability.to_owned(),
            degraded: view.degraded,
            stuck: view.stuck,
            replaced: view.replaced,
            in_flight: view.in_flight,
        }
    }
}

impl Export {
    /// All of it.
    pub fn of(view: &ExportView) -> Self {
        Self {
            brief: Brief::of(view),
            worker: view.worker,
            physical_bytes: view.geometry.physical_bytes,
            block_bytes: view.geometry.block_bytes,
            trim: view.geometry.discards,
            config_text: String::from_utf8_lossy(&view.config).into_owned(),
            config_hex: view.config.iter().map(|byte| format!("{byte:02x}")).collect(),
            mask: macs(&view.mask),
            reservation: macs(&view.reservation),
        }
    }
}

impl Stats {
    /// All that was counted.
    pub fn of(overview: &Overview) -> Self {
        let lanes = overview.workers.iter().flat_map(|snapshot| {
            let worker = snapshot.worker;
            snapshot.lanes.iter().map(move |lane| LaneStats {
                name: lane.name.clone(),
                worker,
                counters: counters(lane.counters.iter().copied()),
            })
        });
        Self {
            uptime_seconds: overview.up.as_secs(),
            interfaces: overview.interfaces.iter().map(InterfaceStats::of).collect(),
            lanes: lanes.collect(),
            workers: overview.workers.iter().map(WorkerStats::of).collect(),
            exports: overview.exports.iter().map(ExportStats::of).collect(),
        }
    }
}

impl InterfaceStats {
    fn of(view: &InterfaceView) -> Self {
        let rows = Counter::ALL.iter().map(|counter| counter.name()).zip(view.counters);
        Self { name: view.facts.name.clone(), counters: counters(rows) }
    }
}

impl WorkerStats {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            worker: snapshot.worker,
            counters: counters(snapshot.stats.counters.rows()),
            drops: counters(snapshot.stats.drop_rows()),
        }
    }
}

impl ExportStats {
    fn of(view: &ExportView) -> Self {
        let tally = &view.tally;
        let ended = |operation| {
            counters(Outcome::ALL.map(|outcome| (outcome.name(), tally.requests(operation, outcome))))
        };
        Self {
            address: view.address.to_string(),
            requests: Operation::ALL.map(|operation| (operation.name().to_owned(), ended(operation))).into(),
            bytes_read: tally.bytes_read,
            bytes_written: tally.bytes_written,
            waited: tally.waited,
            folded: tally.folded,
            repeated: tally.repeated,
            response: times(&tally.response),
            service: times(&tally.service),
            store: times(&tally.store),
        }
    }
}

impl Times {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50_ns: histogram.value_at_quantile(0.5),
            p90_ns: histogram.value_at_quantile(0.9),
            p99_ns: histogram.value_at_quantile(0.99),
            p99_9_ns: histogram.value_at_quantile(0.999),
            max_ns: histogram.max(),
        }
    }
}

/// Addresses as text.
pub fn macs(macs: &[Mac]) -> Vec<String> {
    macs.iter().map(Mac::to_string).collect()
}

fn counters(rows: impl IntoIterator<Item = (&'static str, u64)>) -> Counters {
    rows.into_iter().map(|(name, value)| (name.replace('_', "-"), value)).collect()
}

fn times(latency: &Latency) -> TimesByOperation {
    let measured = |operation| {
        let histogram = latency.of(operation).filter(|histogram| !histogram.is_empty())?;
        Some((operation.name().to_owned(), Times::of(&histogram)))
    };
    Operation::ALL.into_iter().filter_map(measured).collect()
}
