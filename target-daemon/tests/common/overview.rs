//! A snapshot in which every metric has a sample, and all numbers differ.

use std::collections::BTreeMap;
use std::time::Duration;

use xblade::control::Snapshot;
use xblade::control::snapshot::{Changes, Export, Interface, Limits, Refused};
use xblade::link::{Counter, Facts};
use xblade::observe::{Operation, Outcome, Tally};
use xblade::ring::{LaneCounters, RingStatistics};
use xblade::store::Geometry;
use xblade::wire::aoe::Address;
use xblade::wire::ether::Mac;
use xblade::worker::{self, ExportSnapshot, HostChanges, LaneSnapshot, Stats, lane_rows};

pub fn overview() -> Snapshot {
    let interfaces = vec![interface("eth1", 3, count(300)), interface("eth2.7", 4, count(400))];
    let exports = vec![export(0, 1), export(7, 3)];
    // They answer in any order.
    let mut snapshot =
        Snapshot::new(Duration::from_millis(12_500), interfaces, vec![worker(1), worker(0)], exports);
    snapshot.refused =
        vec![Refused { address: "7.4".to_owned(), path: None, reason: "other data".to_owned() }];
    snapshot
}

fn count(from: u64) -> [u64; Counter::COUNT] {
    std::array::from_fn(|at| from + at as u64)
}

pub fn interface(name: &str, index: u32, counters: [u64; Counter::COUNT]) -> Interface {
    let facts = Facts {
        name: name.into(),
        index,
        mac: [2, 0, 0, 0, 0, index as u8],
        mtu: 9000,
        queues: 2,
        queues_max: 2,
        driver: "veth".into(),
        up: true,
        carrier: true,
        loopback: false,
        strips_tags: false,
        filters_vlans: false,
        native: Some(true),
        rx_sg: Some(true),
        zero_copy: None,
        zero_copy_segments: 1,
        attached: Vec::new(),
    };
    Interface::new(&facts, true, "native", counters)
}

pub fn worker(worker: u16) -> worker::Snapshot {
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
    let lane = |id: u16, interface, free| LaneSnapshot {
        id,
        interface,
        chunks: 4096,
        free,
        counters: lane_rows(
            LaneCounters {
                received: base + 3_000,
                transmitted: base + 3_001,
                too_long: base + 3_002,
                bad_descriptors: base + 3_003,
                bad_completions: base + 3_004,
                unstamped: base + 3_010,
                ..LaneCounters::default()
            },
            RingStatistics {
                rx_dropped: base + 3_005,
                rx_ring_full: base + 3_006,
                fill_ring_empty: base + 3_007,
                rx_invalid: base + 3_008,
                tx_invalid: base + 3_009,
                tx_ring_empty: 0,
            },
        ),
    };
    worker::Snapshot {
        worker,
        stats,
        exports: Vec::new(),
        elapsed: Duration::from_secs(10),
        lanes: vec![lane(worker * 2, 0, 100), lane(worker * 2 + 1, 1, 200)],
        drained: false,
        unfinished: Vec::new(),
    }
}

pub fn export(shelf: u16, slot: u8) -> Export {
    Export {
        path: Some("/srv/a \"b\"\\c\n.img".to_owned()),
        way: "direct, one sync for a group of writes".to_owned(),
        worker: 1,
        durability: "durable".to_owned(),
        stuck: true,
        limits: Limits {
            iops: Some(2_000),
            bytes_per_second: Some(200 << 20),
            host_iops: Some(500),
            host_bytes_per_second: Some(50_000_000),
            burst_ms: Some(100),
            host_limits: 1,
        },
        host_settings: "refuse".to_owned(),
        changes: changes(),
        ..Export::from(&of_worker(shelf, slot))
    }
}

/// A mask list that two hosts have changed, and another tried to.
pub fn changes() -> BTreeMap<String, Changes> {
    let none = |name: &str| (name.to_owned(), Changes::default());
    let mask = Changes {
        changed: 2,
        changed_by: Some("02:00:00:00:00:01".to_owned()),
        changed_at: Some("2026-01-02T03:04:05Z".to_owned()),
        refused: 70_000,
        refused_by: Some("02:00:00:00:00:09".to_owned()),
        refused_at: Some("2026-01-02T03:05:06Z".to_owned()),
    };
    [none("config"), ("mask".to_owned(), mask), none("reservation")].into()
}

pub fn of_worker(shelf: u16, slot: u8) -> ExportSnapshot {
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
    let counters = &mut tally.counters;
    (counters.bytes_read, counters.bytes_written) = (4096, 8192);
    (counters.waited, counters.folded, counters.repeated) = (5, 6, 7);
    (counters.limited, counters.limited_ns) = (10, 1_250_000_000);
    ExportSnapshot {
        address: Address { shelf, slot },
        read_only: false,
        geometry: Geometry::new(2048, 512),
        in_flight: 9,
        waiting: 3,
        config: b"config".to_vec(),
        mask: vec![Mac([2, 0, 0, 0, 0, 1])],
        reservation: vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])],
        changes: HostChanges::default(),
        tally,
    }
}
