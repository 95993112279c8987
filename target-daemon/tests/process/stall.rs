//! A medium that answers late: its own requests wait, those of other exports do not.

use std::time::{Duration, Instant};

use crate::fuse::{On, Verdict};
use crate::image::{patterns, sector};
use crate::kinds::Kind;
use crate::load::{Load, Measure};
use crate::rig::{GOOD, Rig, result, sick, well};
use xblade_kit::{OURS, may_run, until};

every_kind!(others_do_not_notice_a_stalled_medium, a_stalled_medium_does_not_keep_the_process,);

/// The minimum rate of replies with the stall, as a share of the rate without it. Other
/// processes use the machine too.
const SHARE_MIN: f64 = 0.5;

/// The same for each half of the stall, which is short.
const HALF_MIN: f64 = 0.1;

/// Requests that the medium holds in a round.
const REQUESTS: u64 = 24;

/// Alternates rounds with and without a stall, so that other load affects both.
fn others_do_not_notice_a_stalled_medium(kind: &Kind) {
    if !may_run("others_do_not_notice_a_stalled_medium") {
        return;
    }
    let mut rig = Rig::fuse(kind, !kind.mapped);
    let mut others = Load::new(rig.host(), well(), 8);
    others.run(Duration::from_millis(100));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for (on, time) in [(On::Read, 700), (On::Write, 700), (On::Sync, 2000)] {
        without.push(others.run(Duration::from_millis(600)));
        with.push(stall(&mut rig, &mut others, on, Duration::from_millis(time)));
    }
    without.push(others.run(Duration::from_millis(600)));
    others.finish();
    rig.assert_others_well();
    for (n, (on, (whole, halves))) in [On::Read, On::Write, On::Sync].iter().zip(&with).enumerate() {
        // The slower neighbour round: other load on this machine varies.
        let usual = without[n].rate.min(without[n + 1].rate);
        let (share, slower) = (whole.rate / usual, halves[0].min(halves[1]) / usual);
        println!("{} {on:?}: {share:.2} of the rate, {slower:.2} in the slower half", kind.word);
        println!(
            "  p99 {:?} with a stall, {:?} and {:?} without",
            whole.p99,
            without[n].p99,
            without[n + 1].p99
        );
        if kind.isolates {
            assert!(share > SHARE_MIN && slower > HALF_MIN, "{} {on:?}: {share} {slower}", kind.word);
        }
    }
    rig.end();
}

/// One round: the medium holds some requests, which are also resent, and releases them
/// after the time.
fn stall(rig: &mut Rig, others: &mut Load, on: On, time: Duration) -> (Measure, [f64; 2]) {
    let lba = 1024 * (1 + on as u64);
    rig.fuse_file().set(on, Verdict::Hold);
    let send = |rig: &mut Rig, n| match on {
        On::Read => rig.host.send_read(sick(), lba + n * 16, 2),
        On::Write | On::Sync => rig.host.send_write(sick(), lba + n * 16, &patterns(lba + n * 16, 2, 1)),
    };
    let mut tags: Vec<u32> = (0..REQUESTS).map(|n| send(rig, n)).collect();
    rig.fuse_file().until_held(1);
    let measure = others.run(time / 2);
    // As Linux does, with new tags; and further requests for the disk.
    tags.extend((0..REQUESTS).map(|n| send(rig, n)));
    let more: Vec<u32> = (0..REQUESTS).map(|n| send(rig, n + REQUESTS)).collect();
    let again = others.run(time / 2);
    let all = [&tags[..], &more].concat();
    rig.assert_unanswered(&all, Duration::from_millis(1));
    rig.fuse_file().release();
    let mut answered = vec![0; tags.len()];
    let mut others_answered = 0;
    let mut hear = |rig: &mut Rig, limit| {
        let came = rig.host.next_answer(limit, |tag| all.contains(&tag));
        let Some((tag, answer)) = came else { return false };
        assert_eq!(result(&answer), GOOD, "{on:?}");
        if more.contains(&tag) {
            others_answered += 1;
            return true;
        }
        let at = tags.iter().position(|sent| *sent == tag).expect("one of them");
        if on == On::Read {
            let lba = lba + at as u64 % REQUESTS * 16;
            assert!(answer.data == [sector(lba), sector(lba + 1)].concat(), "{on:?}: wrong data at {lba}");
        }
        answered[at] += 1;
        true
    };
    // A request and its copy may share one reply, with either tag.
    let end = Instant::now() + Duration::from_secs(5);
    while hear(rig, Duration::from_millis(200)) && Instant::now() < end {}
    assert_eq!(others_answered, more.len(), "{on:?}");
    for n in 0..REQUESTS as usize {
        let (first, copy) = (answered[n], answered[n + REQUESTS as usize]);
        assert!(first <= 1 && copy <= 1 && first + copy >= 1, "{on:?} {n}: {first} and {copy} answers");
    }
    if on != On::Read {
        for lba in (0..REQUESTS).map(|n| lba + n * 16) {
            let bytes = rig.fuse_file().bytes();
            assert!(
                bytes[lba as usize * 512..][..1024] == patterns(lba, 2, 1),
                "acknowledged, and not there"
            );
        }
    }
    let rate = f64::midpoint(measure.rate, again.rate);
    (Measure { rate, p99: measure.p99.max(again.p99) }, [measure.rate, again.rate])
}

/// A request held by the file system keeps a thread in the kernel where no signal reaches
/// it. So the visible signs of the end are that the main thread has exited and nothing is
/// attached to the interface; the exit code comes with the last thread.
fn a_stalled_medium_does_not_keep_the_process(kind: &Kind) {
    if !may_run("a_stalled_medium_does_not_keep_the_process") {
        return;
    }
    let mut rig = Rig::fuse(kind, !kind.mapped);
    rig.fuse_file().set(On::Write, Verdict::Hold);
    let tag = rig.host.send_write(sick(), 0, &patterns(0, 2, 1));
    rig.fuse_file().until_held(1);
    let daemon = rig.take_daemon();
    let (pid, start) = (daemon.pid(), Instant::now());
    daemon.signal(libc::SIGTERM);
    until("the main thread has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('Z')
    });
    assert!(start.elapsed() < Duration::from_millis(9500), "{:?}", start.elapsed());
    rig.pair.ours.until_detached(OURS);
    rig.assert_unanswered(&[tag], Duration::from_millis(1));
    rig.fuse_file().release();
    let ended = daemon.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.text);
    assert!(ended.text.contains("a store does not answer"), "{}", ended.text);
    // A worker that is blocked in its store can report no more than that.
    let told = format!("{}: 1 request(s) not finished", sick());
    assert_eq!(ended.text.contains(&told), kind.isolates, "{}", ended.text);
    rig.assert_unanswered(&[tag], Duration::from_millis(50));
}
