//! An overview in which every metric has a sample, and no two numbers are the
//! same.

use std::time::Duration;

use xblade::control::{ExportView, InterfaceView, Overview, RefusedView};
use xblade::link::{Counter, Facts};
use xblade::observe::{Operation, Outcome, Section, Tally};
use xblade::store::{Durability, Geometry};
use xblade::wire::aoe::Address;
use xblade::wire::ether::Mac;
use xblade::worker::{LanePlace, Snapshot, Stats};

/// Names of what a lane counts, as `worker/run.rs` gives them.
pub const LANE_COUNTERS: [&str; 10] = [
    "received",
    "transmitted",
    "too_long",
    "bad_descriptors",
    "bad_completions",
    "kernel_rx_dropped",
    "kernel_rx_ring_full",
    "kernel_fill_ring_empty",
    "kernel_rx_invalid",
    "kernel_tx_invalid",
];

pub fn overview() -> Overview {
    Overview {
        up: Duration::from_millis(12_500),
        workers: vec![snapshot(0), snapshot(1)],
        exports: vec![export(0, 1), export(7, 3)],
        refused: vec![RefusedView {
            address: Address { shelf: 7, slot: 4 },
            path: None,
            why: "other data".into(),
        }],
        interfaces: vec![interface("eth1", 3), interface("eth2.7", 4)],
    }
}

pub fn interface(name: &str, index: u32) -> InterfaceView {
    let facts = Facts {
        name: name.into(),
        index,
        mac: [2, 0, 0, 0, 0, index as u8],
        mtu: 9000,
        queues: 2,
        driver: "veth".into(),
        up: true,
        carrier: true,
        loopback: false,
        native: Some(true),
        rx_sg: Some(true),
        zero_copy: None,
        zero_copy_segments: 1,
        rx_vlan_offload: None,
        attached: Vec::new(),
    };
    let counters = std::array::from_fn(|at| u64::from(index) * 100 + at as u64);
    assert_eq!(Counter::COUNT, Counter::ALL.len());
    InterfaceView { facts, present: true, mode: "native", counters }
}

pub fn snapshot(worker: u16) -> Snapshot {
    let mut stats = Stats::default();
    let base = u64::from(worker) * 10_000;
    for (at, n) in stats.drops.iter_mut().enumerate() {
        *n = base + 1_000 + at as u64;
    }
    stats.counters.sleeps = base + 2_001;
    stats.counters.no_chunks = base + 2_002;
    stats.counters.media_faults = base + 2_003;
    stats.counters.imbalances = base + 2_004;
    stats.idle = Duration::from_millis(7_250);
    let section = |lane: u16| Section {
        name: format!("lane {lane}"),
        counters: LANE_COUNTERS.iter().zip(base + 3_000..).map(|(name, n)| (*name, n)).collect(),
    };
    let id = worker * 2;
    Snapshot {
        worker,
        stats,
        exports: Vec::new(),
        elapsed: Duration::from_secs(10),
        lanes: vec![section(id), section(id + 1)],
        places: vec![
            LanePlace { id, interface: 0, chunks: 4096, free: 100 },
            LanePlace { id: id + 1, interface: 1, chunks: 4096, free: 200 },
        ],
        drained: false,
        unfinished: Vec::new(),
    }
}

pub fn export(shelf: u16, slot: u8) -> ExportView {
    let mut tally = Tally::new();
    for operation in Operation::ALL {
        for outcome in Outcome::ALL {
            for _ in 0..=(operation as u8 * 3 + outcome as u8) {
                tally.count(operation, outcome);
            }
        }
    }
    for ns in [8_000, 90_000, 1_500_000] {
        tally.response.record(Operation::Read, ns * 2);
        tally.service.record(Operation::Read, ns);
        tally.store.record(Operation::Read, ns / 2);
    }
    tally.service.record(Operation::Query, 3_000);
    (tally.bytes_read, tally.bytes_written) = (4096, 8192);
    (tally.waited, tally.folded, tally.repeated) = (5, 6, 7);
    ExportView {
        address: Address { shelf, slot },
        path: Some("/srv/a \"b\"\\c\n.img".into()),
        way: "direct, one sync for a group of writes".into(),
        worker: 1,
        read_only: false,
        durability: Durability::Durable,
        geometry: Geometry::new(2048, 512),
        degraded: false,
        stuck: true,
        replaced: false,
        in_flight: 9,
        config: b"config".to_vec(),
        mask: vec![Mac([2, 0, 0, 0, 0, 1])],
        reservation: vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])],
        tally,
    }
}
