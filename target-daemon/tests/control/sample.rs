//! What a control thread might tell: every list has something in it.

use std::time::{Duration, SystemTime};

use xblade::config::{Export, Serve};
use xblade::control::{ExportView, InterfaceView, Overview, RefusedView};
use xblade::link::Counter;
use xblade::observe::{Operation, Outcome, Section, Tally};
use xblade::store::{Durability, Geometry};
use xblade::wire::aoe::{Address, Command, Header, Role};
use xblade::wire::ether::{Ether, Mac, Tags};
use xblade::wire::{DropReason, Reply, ata};
use xblade::worker::{CAPTURE_MAX, Snapshot, Stats, TraceOutcome, Traced};

use crate::overview as full;

pub const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);

pub fn overview() -> Overview {
    let mut counters = [0; Counter::COUNT];
    counters[Counter::Redirected as usize] = 21;
    Overview {
        up: Duration::from_secs(3_700),
        workers: vec![snapshot()],
        exports: vec![export(1), nothing(2)],
        refused: vec![RefusedView {
            address: Address { shelf: 0, slot: 7 },
            path: Some("/srv/other".into()),
            why: "0.7 had other data".to_owned(),
        }],
        interfaces: vec![InterfaceView { counters, ..full::interface("eth1", 3) }],
    }
}

pub fn serve() -> Serve {
    let exports = vec!["0.1=/srv/x".parse::<Export>().unwrap(), "0.2=x,store=null,length=8".parse().unwrap()];
    Serve { exports, interfaces: vec!["eth1".to_owned()], ..Serve::default() }.settled()
}

/// Few counters: those that are zero are not shown.
fn snapshot() -> Snapshot {
    let mut stats = Stats::default();
    stats.dropped(DropReason::TooShort);
    stats.counters.media_faults = 3;
    let lane = Section { name: "lane 0".to_owned(), counters: vec![("kernel_rx_dropped", 5)] };
    Snapshot { stats, lanes: vec![lane], ..full::snapshot(0) }
}

pub fn export(slot: u8) -> ExportView {
    let mut tally = Tally::new();
    for ns in [10_000, 20_000, 400_000] {
        tally.count(Operation::Write, Outcome::Done);
        tally.service.record(Operation::Write, ns);
        tally.store.record(Operation::Write, ns / 2);
    }
    tally.count(Operation::Write, Outcome::Failed);
    (tally.bytes_read, tally.bytes_written, tally.folded) = (0, 1536, 2);
    ExportView {
        path: Some("/srv/x".into()),
        worker: 0,
        geometry: Geometry { discards: true, ..Geometry::new(2048, 4096) },
        stuck: false,
        in_flight: 4,
        config: b"kept for\xff\x1b".to_vec(),
        mask: vec![HOST],
        reservation: vec![HOST],
        tally,
        ..full::export(0, slot)
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
        tally: Tally::new(),
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
