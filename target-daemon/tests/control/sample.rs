//! A made-up snapshot in which no list is empty.

use std::time::{Duration, SystemTime};

use xblade::config::{Export as Configured, Serve};
use xblade::control::Snapshot;
use xblade::control::snapshot::{Export, HostLimit, Limits, Refused};
use xblade::link::Counter;
use xblade::observe::{Operation, Outcome, Tally};
use xblade::ring::{LaneCounters, RingStatistics};
use xblade::store::Geometry;
use xblade::wire::aoe::{Address, Command, Header, Role};
use xblade::wire::ether::{Ether, Mac, Tags};
use xblade::wire::{DropReason, Reply, ata};
use xblade::worker::{
    self, CAPTURE_MAX, ExportSnapshot, LaneSnapshot, Stats, TraceOutcome, Traced, lane_rows,
};

use crate::overview as full;

pub const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);

pub fn overview() -> Snapshot {
    let mut counters = [0; Counter::COUNT];
    counters[Counter::Redirected as usize] = 21;
    let interfaces = vec![full::interface("eth1", 3, counters)];
    let exports = vec![export(1), nothing(2)];
    let mut snapshot = Snapshot::new(Duration::from_secs(3_700), interfaces, vec![worker()], exports);
    let macs = |count: u8| (1..=count).map(|n| format!("02:00:00:00:01:{n:02x}")).collect();
    let host_limit = HostLimit { hosts: macs(1), iops: Some(300), burst_ms: 100, ..HostLimit::default() };
    let (exports, bytes_per_second) = (vec!["0.1".to_owned(), "0.2".to_owned()], Some(30 << 20));
    let many = HostLimit { hosts: macs(7), exports, bytes_per_second, ..host_limit.clone() };
    snapshot.host_limits = vec![host_limit, many];
    snapshot.refused = vec![Refused {
        address: "0.7".to_owned(),
        path: Some("/srv/other".to_owned()),
        reason: "0.7 had other data".to_owned(),
    }];
    snapshot
}

pub fn serve() -> Serve {
    let exports =
        vec!["0.1=/srv/x".parse::<Configured>().unwrap(), "0.2=x,store=null,length=8".parse().unwrap()];
    Serve { exports, interfaces: vec!["eth1".to_owned()], ..Serve::default() }.settled()
}

/// Few counters, because zeros are not shown.
fn worker() -> worker::Snapshot {
    let mut stats = Stats::default();
    stats.dropped(DropReason::TooShort);
    stats.counters.media_faults = 3;
    let kernel = RingStatistics { rx_dropped: 5, ..RingStatistics::default() };
    let counters = lane_rows(LaneCounters::default(), kernel);
    let lane = LaneSnapshot { id: 0, interface: 0, chunks: 4096, free: 100, counters };
    worker::Snapshot { stats, lanes: vec![lane], ..full::worker(0) }
}

pub fn export(slot: u8) -> Export {
    let mut tally = Tally::new();
    for ns in [10_000, 20_000, 400_000] {
        tally.count(Operation::Write, Outcome::Done);
        tally.service.record(Operation::Write, ns);
        tally.store.record(Operation::Write, ns / 2);
    }
    tally.count(Operation::Write, Outcome::Failed);
    (tally.counters.bytes_written, tally.counters.folded) = (1536, 2);
    let of_worker = ExportSnapshot {
        geometry: Geometry { discards: true, ..Geometry::new(2048, 4096) },
        in_flight: 4,
        waiting: 0,
        config: b"kept for\xff\x1b".to_vec(),
        mask: vec![HOST],
        reservation: vec![HOST],
        tally,
        ..full::of_worker(0, slot)
    };
    Export {
        path: Some("/srv/x".to_owned()),
        way: "direct, one sync for a group of writes".to_owned(),
        durability: "durable".to_owned(),
        limits: Limits { iops: Some(2_000), host_iops: Some(500), burst_ms: Some(100), ..Limits::default() },
        host_settings: "refuse".to_owned(),
        changes: full::changes(),
        ..Export::from(&of_worker)
    }
}

fn nothing(slot: u8) -> Export {
    let of_worker = ExportSnapshot {
        read_only: true,
        geometry: Geometry::new(8, 512),
        in_flight: 0,
        waiting: 0,
        config: Vec::new(),
        mask: Vec::new(),
        reservation: Vec::new(),
        tally: Tally::new(),
        ..full::of_worker(0, slot)
    };
    Export {
        way: "nothing".to_owned(),
        durability: "volatile".to_owned(),
        host_settings: "allow".to_owned(),
        degraded: true,
        ..Export::from(&of_worker)
    }
}

/// A failed read of 2 sectors from 8, on lane 1, and a dropped frame of 60 bytes on lane
/// 0.
pub fn traced() -> [Traced; 2] {
    let ether = Ether { dst: Mac([2, 0, 0, 0, 1, 0]), src: HOST, tags: Tags::NONE };
    let header = Header { ether, role: Role::Request, shelf: 0, slot: 1, command: Command::Ata, tag: 42 };
    let registers = ata::Request::registers_of(8);
    let asked = ata::Request { flags: 0, feature: 0, count: 2, command: 0x24.into(), registers };
    let reply = Reply::Ata(asked.reply(ata::status::ERROR, ata::error::UNCORRECTABLE));
    let mut answer = [0; CAPTURE_MAX];
    let len = reply.emit(&header, ether.dst, Address { shelf: 0, slot: 1 }, &mut answer).unwrap();
    let operation = Operation::Read;
    let (asked, outcome) = (Some(asked), Outcome::Failed);
    let done = TraceOutcome::Request { operation, asked, outcome, service_ns: 9_000, store_ns: 7_000 };
    let mut stray = [0; CAPTURE_MAX];
    Header { slot: 9, command: Command::Unknown(7), ..header }.emit(&mut stray).unwrap();
    let traced = |what, lane, bytes, len: usize| {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_767_323_045, 678);
        Traced { what, at, lane, len: len as u32, captured: len as u16, bytes }
    };
    [traced(done, 1, answer, len), traced(TraceOutcome::Dropped(DropReason::Address), 0, stray, 60)]
}
