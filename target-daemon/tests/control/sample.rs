//! What a control thread might tell: every list has something in it.

use std::time::{Duration, SystemTime};

use xblade::config::{Export, Serve};
use xblade::control::{ExportView, InterfaceView, Overview};
use xblade::link::{Counter, Facts};
use xblade::observe::{Operation, Outcome, Section, Tally};
use xblade::store::{Durability, Geometry};
use xblade::wire::aoe::{Address, Command, Header, Role};
use xblade::wire::ether::{Ether, Mac, Tags};
use xblade::wire::{DropReason, Reply, ata};
use xblade::worker::{CAPTURE_MAX, Snapshot, Stats, Traced, What};

pub const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);

pub fn at(slot: u8) -> Address {
    Address { shelf: 0, slot }
}

pub fn overview() -> Overview {
    let mut counters = [0; Counter::COUNT];
    counters[Counter::Redirected as usize] = 21;
    Overview {
        up: Duration::from_secs(3_700),
        workers: vec![snapshot()],
        exports: vec![export(1), nothing(2)],
        interfaces: vec![InterfaceView { facts: facts(), present: true, mode: "native", counters }],
    }
}

pub fn serve() -> Serve {
    let exports = vec!["0.1=/srv/x".parse::<Export>().unwrap(), "0.2=x,store=null,length=8".parse().unwrap()];
    Serve { exports, interfaces: vec!["eth1".to_owned()], ..Serve::default() }.settled()
}

fn snapshot() -> Snapshot {
    let mut stats = Stats::default();
    stats.dropped(DropReason::TooShort);
    stats.counters.media_faults = 3;
    let lane = Section { name: "lane 0".to_owned(), counters: vec![("kernel_rx_dropped", 5)] };
    Snapshot {
        worker: 0,
        stats,
        exports: Vec::new(),
        lanes: vec![lane],
        elapsed: std::time::Duration::from_secs(60),
        places: Vec::new(),
        drained: true,
        unfinished: Vec::new(),
    }
}

fn facts() -> Facts {
    Facts {
        name: "eth1".to_owned(),
        index: 3,
        mac: [2, 0, 0, 0, 1, 0],
        mtu: 9000,
        queues: 1,
        driver: "veth".to_owned(),
        up: true,
        carrier: true,
        loopback: false,
        native: Some(true),
        rx_sg: Some(true),
        zero_copy: None,
        zero_copy_segments: 1,
        rx_vlan_offload: None,
        attached: Vec::new(),
    }
}

pub fn export(slot: u8) -> ExportView {
    let mut tally = Tally::new().unwrap();
    for ns in [10_000, 20_000, 400_000] {
        tally.count(Operation::Write, Outcome::Done);
        tally.service.record(Operation::Write, ns);
        tally.store.record(Operation::Write, ns / 2);
    }
    tally.count(Operation::Write, Outcome::Failed);
    (tally.bytes_read, tally.bytes_written, tally.folded) = (0, 1536, 2);
    ExportView {
        address: at(slot),
        path: Some("/srv/x".into()),
        way: "direct, one sync for a group of writes".to_owned(),
        worker: 0,
        read_only: false,
        durability: Durability::Durable,
        geometry: Geometry { discards: true, ..Geometry::new(2048, 4096) },
        degraded: false,
        stuck: false,
        in_flight: 4,
        config: b"kept for\xff\x1b".to_vec(),
        mask: vec![HOST],
        reservation: vec![HOST],
        tally,
    }
}

fn nothing(slot: u8) -> ExportView {
    ExportView {
        path: None,
        way: "nothing".to_owned(),
        read_only: true,
        durability: Durability::Volatile,
        geometry: Geometry::new(8, 512),
        in_flight: 0,
        degraded: true,
        config: Vec::new(),
        mask: Vec::new(),
        reservation: Vec::new(),
        tally: Tally::new().unwrap(),
        ..export(slot)
    }
}

/// A read of 2 sectors from 8 that failed, on lane 1, and on lane 0 a frame of 60 bytes
/// for nobody.
pub fn traced() -> [Traced; 2] {
    let ether = Ether { dst: Mac([2, 0, 0, 0, 1, 0]), src: HOST, tags: Tags::NONE };
    let header = Header { ether, role: Role::Request, shelf: 0, slot: 1, command: Command::Ata, tag: 42 };
    let registers = ata::Request::registers_of(8);
    let asked = ata::Request { flags: 0, feature: 0, count: 2, command: 0x24.into(), registers };
    let reply = Reply::Ata(asked.reply(ata::status::ERROR, ata::error::UNCORRECTABLE));
    let mut answer = [0; CAPTURE_MAX];
    let len = reply.emit(&header, ether.dst, at(1), &mut answer).unwrap();
    let operation = Operation::Read;
    let (asked, outcome) = (Some(asked), Outcome::Failed);
    let done = What::Request { operation, asked, outcome, service_ns: 9_000, store_ns: 7_000 };
    let mut stray = [0; CAPTURE_MAX];
    Header { slot: 9, command: Command::Unknown(7), ..header }.emit(&mut stray).unwrap();
    let traced = |what, lane, bytes, len: usize| {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_767_323_045, 678);
        Traced { what, at, lane, len: len as u32, captured: len as u16, bytes }
    };
    [traced(done, 1, answer, len), traced(What::Dropped(DropReason::Address), 0, stray, 60)]
}
