//! A medium that answers late: its own requests wait, everybody else's do not.

use std::time::{Duration, Instant};

use crate::fuse::{On, Verdict};
use crate::image::{patterns, sector};
use crate::kinds::Kind;
use crate::load::{Load, Measure};
use crate::rig::{GOOD, Rig, result, sick, well};
use crate::space::{OURS, may_run, until};

every_kind!(others_do_not_notice_a_stalled_medium, a_stalled_medium_does_not_keep_the_process,);

/// Answers a second with the stall, at least so much of those without it. The
/// machine is not ours alone.
const SHARE_MIN: f64 = 0.5;

/// Requests that the medium holds in a round.
const REQUESTS: u64 = 24;

/// Rounds with and without a stall, in turns, so that what else goes on here
/// meets both.
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
    let share = mean(&with) / mean(&without);
    println!("{}: {share:.2} of the rate; without {without:.0?}, with a stall {with:.0?}", kind.word);
    if kind.isolates {
        let slow = with.iter().find(|with| with.rate < SHARE_MIN * mean(&without));
        assert!(slow.is_none(), "{}: {slow:?} during a stall, without {without:?}", kind.word);
    }
    rig.end();
}

/// One round: the medium holds some requests, which are also sent again, and
/// lets them go after the time.
fn stall(rig: &mut Rig, others: &mut Load, on: On, time: Duration) -> Measure {
    let lba = 1024 * (1 + on as u64);
    rig.fuse_file().set(on, Verdict::Hold);
    let send = |rig: &mut Rig, n| match on {
        On::Read => rig.host.send_read(sick(), lba + n * 32, 2),
        On::Write | On::Sync => rig.host.send_write(sick(), lba + n * 32, &patterns(lba + n * 32, 2, 1)),
    };
    let mut tags: Vec<u32> = (0..REQUESTS).map(|n| send(rig, n)).collect();
    rig.fuse_file().until_held(1);
    let measure = others.run(time / 2);
    // As Linux does: with new tags.
    tags.extend((0..REQUESTS).map(|n| send(rig, n)));
    let again = others.run(time / 2);
    println!("{on:?}: {:.0} answers a second, {:.0} when all is sent again", measure.rate, again.rate);
    rig.assert_unanswered(&tags, Duration::from_millis(1));
    rig.fuse_file().release();
    let mut answered = vec![0; tags.len()];
    let mut hear = |rig: &mut Rig, limit| {
        let came = rig.host.next_answer(limit, |tag| tags.contains(&tag));
        let Some((tag, answer)) = came else { return false };
        assert_eq!(result(&answer), GOOD, "{on:?}");
        let at = tags.iter().position(|sent| *sent == tag).expect("one of them");
        if on == On::Read {
            let lba = lba + at as u64 % REQUESTS * 32;
            assert!(answer.data == [sector(lba), sector(lba + 1)].concat(), "{on:?}: wrong data at {lba}");
        }
        answered[at] += 1;
        true
    };
    // A request and its copy may have one answer between them, with either tag.
    let end = Instant::now() + Duration::from_secs(5);
    while hear(rig, Duration::from_millis(200)) && Instant::now() < end {}
    for n in 0..REQUESTS as usize {
        let (first, copy) = (answered[n], answered[n + REQUESTS as usize]);
        assert!(first <= 1 && copy <= 1 && first + copy >= 1, "{on:?} {n}: {first} and {copy} answers");
    }
    if on != On::Read {
        for lba in (0..REQUESTS).map(|n| lba + n * 32) {
            let bytes = rig.fuse_file().bytes();
            assert!(
                bytes[lba as usize * 512..][..1024] == patterns(lba, 2, 1),
                "acknowledged, and not there"
            );
        }
    }
    Measure { rate: f64::midpoint(measure.rate, again.rate), p99: measure.p99.max(again.p99) }
}

fn mean(measures: &[Measure]) -> f64 {
    measures.iter().map(|measure| measure.rate).sum::<f64>() / measures.len() as f64
}

/// A request that the file system has taken keeps a thread in the kernel where
/// no signal gets at it, so what can be seen of the end is that the main thread
/// has ended and nothing is on the interface; the exit code comes with the
/// last thread.
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
    // A worker that waits with its store did not end; one that does not, did.
    let (code, said) =
        if kind.isolates { (0, "were not finished within") } else { (1, "a store does not answer") };
    assert_eq!(ended.status.code(), Some(code), "{}", ended.text);
    assert!(ended.text.contains(said), "{}", ended.text);
    rig.assert_unanswered(&[tag], Duration::from_millis(50));
}
