//! Attaching and detaching exports between two turns, and saving state before it is
//! acknowledged.

use crossbeam_channel::{Receiver, bounded};
use xblade::observe::{Operation, Outcome};
use xblade::shelf::{Export, HostSetting, HostSettings, Saved, Settings};
use xblade::store::Store;
use xblade::wire::DropReason;
use xblade::wire::{aoe, ether};
use xblade::worker::{Cleared, ExportRuntime, HostChange, Owner, SaveAck, SaveRequest, WorkerCommand};
use xblade_sim::FakeStore;
use xblade_sim::store::Order;
use xblade_tests::frame::{Ask, MASK, QUERY, RESERVE, mac, mask, query, query_done, reserve};
use xblade_tests::{Address, FakeTarget, HOST, pattern, settings};

use crate::channels::on_lane;
use crate::{DISK, SECOND, good, read, release_all, store, target, write};

fn runtime(at: Address, store: impl Store + 'static) -> ExportRuntime {
    ExportRuntime::new(Export::new(settings(at), Box::new(store)), 64)
}

/// Attaches the export to worker 0, and updates the directory of all workers.
fn add(target: &mut FakeTarget, at: Address, index: u16, store: &FakeStore) {
    let owner = Owner { worker: 0, export: index };
    target.order(WorkerCommand::Attach(index, Box::new(runtime(at, store.clone()))));
    let directory = target.directory.with(aoe::Address { shelf: at.0, slot: at.1 }, owner);
    target.publish(directory);
}

fn forget(target: &mut FakeTarget, at: Address) {
    let directory = target.directory.without(aoe::Address { shelf: at.0, slot: at.1 });
    target.publish(directory);
}

#[test]
fn an_export_that_leaves_finishes_what_is_under_way() {
    let (staying, leaving) = (store(Order::Submitted, 64), store(Order::Manual, 64));
    let mut target = target(&staying, |_| {});
    add(&mut target, SECOND, 3, &leaving);
    let ask = write(SECOND, 1, 8, &pattern(2, 8, 1));
    target.deliver(0, &ask.bytes());
    target.round();
    assert_eq!(leaving.pending().len(), 1);
    forget(&mut target, SECOND);
    let (to, from) = bounded(1);
    target.order(WorkerCommand::Detach(3, to));
    target.settle();
    assert!(from.try_recv().is_err(), "its store has not finished");
    // It gets no new requests, and the other export is unaffected.
    target.deliver(0, &read(SECOND, 2, 0, 1).bytes());
    let other = read(DISK, 3, 0, 1);
    assert_eq!(target.channels(0, &other.bytes()), [good(&other, &[0; 512])]);
    release_all(&leaving);
    target.settle();
    assert_eq!(target.sent(0), [good(&ask, &[])], "answered when it is done");
    let tally = from.try_recv().unwrap().tally().clone();
    assert_eq!(tally.requests(Operation::Write, Outcome::Done), 1, "the last is counted, too");
    assert_eq!(tally.service.of(Operation::Write).count(), 1);
    assert_eq!(target.dropped(DropReason::Address), 1);
    target.assert_at_rest();
}

/// A request routed by an outdated directory meets a free index, or another export there:
/// it is not executed in either case.
#[test]
fn a_request_for_an_export_that_is_gone_gets_no_answer() {
    for next in [None, Some((7, 7))] {
        let old = store(Order::Submitted, 64);
        let mut target = target(&old, |plan| {
            plan.lanes = vec![0, 1];
            plan.workers = 2;
        });
        let (to, from) = bounded(1);
        // Worker 1 hands it over; worker 0 receives it when the index is free.
        target.deliver(1, &on_lane(1, write(DISK, 1, 8, &pattern(1, 8, 1))).bytes());
        target.workers[1].turn(&target.clock);
        target.order(WorkerCommand::Detach(0, to));
        target.workers[0].settle(&target.clock);
        let new = store(Order::Submitted, 64);
        if let Some(at) = next {
            assert!(from.try_recv().is_ok(), "nothing was under way");
            add(&mut target, at, 0, &new);
        }
        target.settle();
        assert_eq!(target.sent(1), Vec::<Vec<u8>>::new());
        assert!(old.executed().is_empty() && new.executed().is_empty());
        assert_eq!(target.dropped(DropReason::Address), 1);
        target.assert_at_rest();
    }
}

/// The record that binds an address to its data is written from these marks.
#[test]
fn a_draining_worker_marks_what_was_used_a_moment_ago() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    target.clock.0.set(1_000_000_000);
    target.settle();
    target.clock.0.set(1_001_000_000);
    let ask = write(DISK, 1, 8, &pattern(1, 8, 1));
    assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[])]);
    assert_eq!(target.directory.used().count(), 0, "it looked a moment ago");
    target.workers[0].drain(&target.clock);
    assert_eq!(target.directory.used().count(), 1);
}

/// An export is reopened: what was answered before is still known.
#[test]
fn a_copy_is_known_after_its_export_was_reopened() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (old, new) = (write(DISK, 1, 0, &pattern(1, 0, 1)), write(DISK, 2, 0, &pattern(2, 0, 1)));
    for ask in [&old, &new] {
        assert_eq!(target.channels(0, &ask.bytes()), [good(ask, &[])]);
    }
    let (to, from) = bounded(1);
    target.order(WorkerCommand::Detach(0, to));
    target.settle();
    let answered = from.try_recv().unwrap().take_answered();
    target.order(WorkerCommand::Attach(0, Box::new(runtime(DISK, store.clone()).remembering(answered))));
    assert_eq!(target.channels(0, &old.bytes()), [good(&old, &[])]);
    assert_eq!(store.bytes()[..512], pattern(2, 0, 1)[..], "answered again, and not executed");
    assert_eq!(target.count(|c| c.repeated), 1);
    target.assert_at_rest();
}

/// Another worker may use the old directory for a moment: what it hands over to a leaving
/// export that still has requests in flight is not executed.
#[test]
fn an_export_that_leaves_takes_nothing_new() {
    let store = store(Order::Manual, 64);
    let mut target = target(&store, |plan| {
        plan.lanes = vec![0, 1];
        plan.workers = 2;
    });
    let under_way = write(DISK, 1, 8, &pattern(1, 8, 1));
    target.deliver(0, &under_way.bytes());
    target.round();
    let later = [write(DISK, 2, 100, &pattern(2, 100, 1)), Ask::new(DISK, QUERY, query(3, b"mail"))];
    for ask in later {
        target.deliver(1, &on_lane(1, ask).bytes());
    }
    target.workers[1].turn(&target.clock);
    let (to, from) = bounded(1);
    target.order(WorkerCommand::Detach(0, to));
    target.settle();
    assert_eq!((store.submitted().len(), target.dropped(DropReason::Address)), (1, 2));
    assert_eq!(target.sent(1), Vec::<Vec<u8>>::new());
    release_all(&store);
    target.settle();
    assert_eq!(target.sent(0), [good(&under_way, &[])]);
    let export = from.try_recv().unwrap().into_export();
    assert_eq!(export.state.config(), b"");
    target.assert_at_rest();
}

/// A write to the export that has the index now is new, even if the export that had it
/// before answered an identical one.
#[test]
fn an_export_does_not_inherit_the_past_of_its_index() {
    let (old, new) = (store(Order::Submitted, 64), store(Order::Submitted, 64));
    let mut target = target(&old, |_| {});
    let ask = write(DISK, 77, 8, &pattern(1, 8, 1));
    assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
    let (to, from) = bounded(1);
    forget(&mut target, DISK);
    target.order(WorkerCommand::Detach(0, to));
    target.settle();
    drop(from.try_recv().unwrap());
    add(&mut target, DISK, 0, &new);
    assert_eq!(target.channels(0, &ask.bytes()), [good(&ask, &[])]);
    assert_eq!(new.executed().len(), 1, "it was taken for a copy");
}

#[test]
fn other_settings_are_in_force_at_once() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    target.order(WorkerCommand::Change(0, Box::new(Settings { read_only: true, ..settings(DISK) })));
    let ask = write(DISK, 1, 0, &pattern(1, 0, 1));
    assert_ne!(target.channels(0, &ask.bytes()), [good(&ask, &[])]);
    assert_eq!(store.submitted().len(), 0);
}

/// What is found of an export is noted where the others look for it.
#[test]
fn a_new_directory_has_what_is_found_from_then_on() {
    let stores = [store(Order::Submitted, 64), store(Order::Submitted, 64)];
    let mut target = target(&stores[0], |_| {});
    add(&mut target, SECOND, 1, &stores[1]);
    stores.iter().for_each(|store| store.resize(600));
    target.order(WorkerCommand::Measure);
    target.settle();
    assert_eq!(target.directory.sizes().map(|(_, sectors)| sectors).collect::<Vec<_>>(), [600, 600]);
}

/// Each export that a index had keeps its own state: an answer for one is none for the next.
#[test]
fn exports_that_follow_each_other_are_told_apart_by_the_keeper() {
    let first = store(Order::Submitted, 64);
    let mut target = target(&first, |_| {});
    let (to, keeper) = bounded(4);
    target.workers[0].set_state_writer(to);
    let mut numbers = Vec::new();
    for turn in 0..4 {
        let ask = Ask::new(DISK, QUERY, query(3, b"mail"));
        assert_eq!(target.channels(0, &ask.bytes()).len(), 0);
        numbers.push(keeper.try_recv().unwrap().number);
        let (to, from) = bounded(1);
        forget(&mut target, DISK);
        target.order(WorkerCommand::Detach(0, to));
        target.settle();
        assert!(from.try_recv().is_ok(), "turn {turn}");
        add(&mut target, DISK, 0, &store(Order::Submitted, 64));
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 4);
    target.assert_at_rest();
}

#[test]
fn what_is_set_is_acknowledged_when_it_is_kept() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, writer) = bounded(4);
    target.workers[0].set_state_writer(to);
    let ask = |tag, code, string: &[u8]| Ask { tag, ..Ask::new(DISK, QUERY, query(code, string)) };
    let (set, seen) = (ask(1, 3, b"mail"), ask(2, 0, b""));
    assert_eq!(target.channels(0, &set.bytes()), Vec::<Vec<u8>>::new(), "not kept yet");
    let done = |ask: &Ask, code| ask.reply(DISK, &query_done(64, 16, code, b"mail"));
    assert_eq!(target.channels(0, &seen.bytes()), [done(&seen, 0)], "reads go on");
    let save = writer.try_recv().unwrap();
    assert_eq!(save.saved.config, b"mail");
    // Resent, because the host has had no reply: it waits as well.
    let again = ask(3, 3, b"mail");
    assert_eq!(target.channels(0, &again.bytes()), Vec::<Vec<u8>>::new());
    target.order(WorkerCommand::Saved(SaveAck {
        export: 0,
        number: save.number + 1,
        revision: save.revision,
    }));
    target.settle();
    assert_eq!(target.sent(0), Vec::<Vec<u8>>::new(), "another export was kept");
    target.order(WorkerCommand::Saved(SaveAck { export: 0, number: save.number, revision: save.revision }));
    target.settle();
    assert_eq!(target.sent(0), [done(&set, 3), done(&again, 3)]);
    assert_eq!(target.channels(0, &set.bytes()), [done(&set, 3)], "nothing new: at once");
    target.assert_at_rest();
}

/// Acknowledges a state.
fn saved(target: &mut FakeTarget, save: &SaveRequest) {
    target.order(WorkerCommand::Saved(SaveAck { export: 0, number: save.number, revision: save.revision }));
    target.settle();
}

/// Each reply waits for its own revision, not for the first one saved. What is set while a
/// state is being saved goes with the next one.
#[test]
fn a_revision_that_is_kept_answers_no_later_one() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, writer) = bounded(4);
    target.workers[0].set_state_writer(to);
    let asks =
        [1, 2, 3].map(|number| Ask { tag: number, ..Ask::new(DISK, QUERY, query(4, &[number as u8])) });
    for ask in &asks {
        assert_eq!(target.channels(0, &ask.bytes()), Vec::<Vec<u8>>::new());
    }
    for (string, answered) in [([1], &asks[..1]), ([3], &asks[1..])] {
        let save = writer.try_recv().unwrap();
        assert_eq!(save.saved.config, string);
        assert!(writer.try_recv().is_err(), "one at a time");
        saved(&mut target, &save);
        let done = |ask: &Ask| ask.reply(DISK, &query_done(64, 16, 4, &[ask.tag as u8]));
        assert_eq!(target.sent(0), answered.iter().map(done).collect::<Vec<_>>());
    }
    assert!(writer.try_recv().is_err(), "all is saved");
    target.assert_at_rest();
}

#[test]
fn who_waits_for_a_state_when_its_export_leaves_gets_no_answer() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, _writer) = bounded(4);
    target.workers[0].set_state_writer(to);
    let ask = Ask::new(DISK, RESERVE, reserve(1, 1, &[mac(1)]));
    assert_eq!(target.channels(0, &ask.bytes()), Vec::<Vec<u8>>::new());
    forget(&mut target, DISK);
    let (to, from) = bounded(1);
    target.order(WorkerCommand::Detach(0, to));
    target.settle();
    let tally = from.try_recv().unwrap().tally().clone();
    let unanswered = Operation::ALL.iter().map(|one| tally.requests(*one, Outcome::Unanswered)).sum::<u64>();
    assert_eq!(unanswered, 1);
    assert_eq!(target.sent(0), Vec::<Vec<u8>>::new());
    target.assert_at_rest();
}

#[test]
fn a_full_writer_is_asked_again() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, writer) = bounded(1);
    target.workers[0].set_state_writer(to.clone());
    let full = SaveRequest {
        worker: 9,
        export: 0,
        number: 0,
        revision: 0,
        key: String::new(),
        saved: Saved::default(),
    };
    to.send(full).unwrap();
    let reserve =
        |number: u32| Ask { tag: number, ..Ask::new(DISK, RESERVE, reserve(2, 1, &[mac(number as u8)])) };
    assert_eq!(target.channels(0, &reserve(1).bytes()), Vec::<Vec<u8>>::new(), "its host asks again");
    assert_eq!(cleared(&mut target, HostSetting::Reservation).try_recv(), Ok(Cleared::Busy));
    drop(writer.try_recv().unwrap());
    assert_eq!(target.channels(0, &reserve(2).bytes()), Vec::<Vec<u8>>::new());
    let save = writer.try_recv().unwrap();
    assert_eq!(save.saved.reservation, [ether::Mac(mac(2))]);
    saved(&mut target, &save);
    assert_eq!(target.sent(0).len(), 1, "that which was taken");
    target.assert_at_rest();
}

fn cleared(target: &mut FakeTarget, setting: HostSetting) -> Receiver<Cleared> {
    let (to, from) = bounded(1);
    target.order(WorkerCommand::Clear(0, setting, to));
    from
}

/// The operator waits with thousands of hosts, and is not displaced by them.
#[test]
fn a_flood_of_sets_does_not_displace_the_operator() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, writer) = bounded(4);
    target.workers[0].set_state_writer(to);
    let flood = |target: &mut FakeTarget, from: u32| {
        for number in from..from + 300 {
            let string = number.to_be_bytes();
            let ask = Ask { tag: number, ..Ask::new(DISK, QUERY, query(4, &string)) };
            assert_eq!(target.channels(0, &ask.bytes()), Vec::<Vec<u8>>::new());
        }
    };
    flood(&mut target, 0);
    let from = cleared(&mut target, HostSetting::Config);
    flood(&mut target, 1000);
    assert!(from.try_recv().is_err(), "not saved yet");
    let saves: Vec<_> = writer.try_iter().collect();
    assert_eq!(saves.len(), 2, "the first, and that of the operator: no queue for the flood");
    assert_eq!(saves[1].saved.config, b"");
    saved(&mut target, &saves[0]);
    assert!(from.try_recv().is_err(), "that was before it");
    saved(&mut target, &saves[1]);
    assert_eq!(from.try_recv(), Ok(Cleared::Saved));
    let last = writer.try_iter().last().unwrap();
    assert_eq!(last.saved.config, 1299u32.to_be_bytes());
    saved(&mut target, &last);
    target.assert_at_rest();
}

/// The state writer gives up on a worker that hangs. Nothing must wait for that for ever.
#[test]
fn a_lost_acknowledgement_is_made_up_for() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, writer) = bounded(4);
    target.workers[0].set_state_writer(to);
    let set = |tag, string: &[u8]| Ask { tag, ..Ask::new(DISK, QUERY, query(4, string)) };
    assert_eq!(target.channels(0, &set(1, b"a").bytes()).len(), 0);
    drop(writer.try_recv().unwrap());
    target.clock.0.set(1_000_000_000);
    assert_eq!(target.channels(0, &set(2, b"b").bytes()).len(), 0);
    let save = writer.try_recv().unwrap();
    assert_eq!(save.saved.config, b"b");
    saved(&mut target, &save);
    assert_eq!(target.sent(0).len(), 2);
    target.assert_at_rest();
}

/// What is saved of what hosts set, by the rule for hosts.
#[test]
fn only_what_hosts_may_keep_is_saved() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, writer) = bounded(4);
    target.workers[0].set_state_writer(to);
    let rule = |target: &mut FakeTarget, host_settings| {
        target.order(WorkerCommand::Change(0, Box::new(Settings { host_settings, ..settings(DISK) })));
    };
    let mut tag = 0;
    let mut send = |target: &mut FakeTarget, command, argument: Vec<u8>| {
        tag += 1;
        target.channels(0, &Ask { tag, ..Ask::new(DISK, command, argument) }.bytes()).len()
    };
    // Allowed: saved before the reply.
    assert_eq!(send(&mut target, RESERVE, reserve(1, 1, &[mac(1)])), 0);
    let save = writer.try_recv().unwrap();
    saved(&mut target, &save);
    assert_eq!(target.sent(0).len(), 1);
    // Volatile: in force, answered at once, and never saved, not even with something else.
    rule(&mut target, HostSettings::Volatile);
    assert_eq!(send(&mut target, QUERY, query(4, b"volatile")), 1);
    assert_eq!(send(&mut target, RESERVE, reserve(2, 1, &[mac(9)])), 1);
    assert_eq!(send(&mut target, RESERVE, reserve(2, 0, &[])), 1);
    assert!(writer.try_recv().is_err());
    let from = cleared(&mut target, HostSetting::Mask);
    assert_eq!(from.try_recv(), Ok(Cleared::Saved), "there is nothing to clear");
    // Allowed again: only what is set now is saved with it.
    rule(&mut target, HostSettings::Allow);
    assert_eq!(send(&mut target, MASK, mask(1, 0, 1, &[(1, HOST)])), 0);
    let save = writer.try_recv().unwrap();
    assert_eq!((save.saved.config.len(), &save.saved.reservation[..]), (0, &[ether::Mac(mac(1))][..]));
    assert_eq!(save.saved.mask, [ether::Mac(HOST)]);
    saved(&mut target, &save);
    assert_eq!(target.sent(0).len(), 1);
    // The same string again: it is to be kept now.
    assert_eq!(send(&mut target, QUERY, query(4, b"volatile")), 0);
    let save = writer.try_recv().unwrap();
    assert_eq!(save.saved.config, b"volatile");
    saved(&mut target, &save);
    target.sent(0);
    target.assert_at_rest();
}

/// A saved reservation that its holder releases must not come back, though others may set
/// nothing; a retransmission of the release is acknowledged no earlier than it.
#[test]
fn a_holder_gives_back_what_is_saved() {
    for host_settings in [HostSettings::Volatile, HostSettings::Refuse] {
        let store = store(Order::Submitted, 64);
        let mut target = target(&store, |_| {});
        let (to, writer) = bounded(4);
        target.workers[0].set_state_writer(to);
        let ask = |tag, code, macs: &[[u8; 6]]| Ask {
            tag,
            ..Ask::new(DISK, RESERVE, reserve(code, macs.len() as u8, macs))
        };
        assert_eq!(target.channels(0, &ask(1, 1, &[HOST]).bytes()).len(), 0);
        saved(&mut target, &writer.try_recv().unwrap());
        target.sent(0);
        target.order(WorkerCommand::Change(0, Box::new(Settings { host_settings, ..settings(DISK) })));
        assert_eq!(target.channels(0, &ask(2, 1, &[]).bytes()).len(), 0, "{host_settings:?}");
        assert_eq!(target.channels(0, &ask(3, 1, &[]).bytes()).len(), 0, "not saved yet");
        let save = writer.try_recv().unwrap();
        assert_eq!(save.saved.reservation, []);
        saved(&mut target, &save);
        assert_eq!(target.sent(0).len(), 2);
        target.assert_at_rest();
    }
}

/// A worker reports a part of a flood, with values that are cut, and counts all of it. It
/// does not wait for a reader.
#[test]
fn changes_are_reported_and_a_flood_in_part() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (to, log) = bounded::<HostChange>(3);
    target.workers[0].set_change_log(to);
    for number in 0..50u32 {
        let ask = Ask { tag: number, ..Ask::new(DISK, RESERVE, reserve(2, 1, &[mac(number as u8)])) };
        assert_eq!(target.channels(0, &ask.bytes()).len(), 1);
    }
    let lines: Vec<String> =
        log.try_iter().map(|change| format!("{}: {} -> {}", change.source, change.old, change.new)).collect();
    let host = ether::Mac(HOST);
    let line = |from: &str, number: u8| format!("{host}: {from} -> {}", ether::Mac(mac(number)));
    let first = ether::Mac(mac(0)).to_string();
    assert_eq!(lines[..2], [line("none", 0), line(&first, 1)]);
    assert_eq!(lines.len(), 3, "the reader is slow");
    let counts: Vec<u64> = target.directory.host_changes().map(|(_, count)| count).collect();
    assert_eq!(counts, [50]);
    let counted = target.workers[0].export(0).unwrap().changes.of(HostSetting::Reservation);
    assert_eq!(counted.counts, [50, 0]);
    target.assert_at_rest();
}
