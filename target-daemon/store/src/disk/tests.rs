mod fixture;

use super::*;
use fixture::{OFFSET, Rig};

type Finished = Vec<(u32, Result<(), IoError>)>;

const WHOLE: u32 = u32::MAX;

fn good(tokens: &[u32]) -> Finished {
    tokens.iter().map(|token| (*token, Ok(()))).collect()
}

fn bad(tokens: &[u32], fault: IoError) -> Finished {
    tokens.iter().map(|token| (*token, Err(fault))).collect()
}

fn syncs(rig: &Rig) -> usize {
    rig.calls().iter().filter(|call| **call == IoRequest::Sync).count()
}

#[test]
fn a_write_is_complete_with_a_sync_begun_after_its_outcome() {
    let mut rig = Rig::new(64, 512, Persist::Group);
    let (a, b, c) = (rig.write(0, &[1; 512]), rig.write(1, &[2; 512]), rig.write(2, &[3; 512]));
    assert_eq!((rig.turn(), syncs(&rig)), (vec![], 0), "nothing is written yet");
    rig.run(0, WHOLE);
    assert_eq!((rig.turn(), syncs(&rig)), (vec![], 0), "b and c are of the same burst");
    let d = rig.write(3, &[4; 512]);
    rig.run(0, WHOLE);
    rig.run(0, WHOLE);
    assert_eq!((rig.turn(), syncs(&rig)), (vec![], 1), "the burst is covered");
    let e = rig.write(4, &[5; 512]);
    rig.run(0, WHOLE);
    assert_eq!((rig.turn(), syncs(&rig)), (vec![], 1), "one at a time");
    // The results of a write and of the sync arrive together: the sync did not cover it.
    let at = rig.calls().iter().position(|call| matches!(call, IoRequest::Write { .. })).unwrap();
    rig.run(at, WHOLE);
    rig.end_sync(Ok(0));
    assert_eq!((rig.turn(), rig.calls()), (good(&[a, b, c]), vec![IoRequest::Sync]), "the next, for d and e");
    rig.end_sync(Ok(0));
    assert_eq!((rig.turn(), rig.calls()), (good(&[d, e]), vec![]));
}

/// Also if nothing happens after the operation that asked for it.
#[test]
fn the_end_of_the_file_is_not_remembered() {
    let mut rig = Rig::new(64, 512, Persist::OnFlush);
    rig.turn();
    rig.write(0, &[1; 512]);
    assert!(rig.store.complete().is_none());
    rig.set_end(OFFSET + 10 * 512);
    let late = rig.write(20, &[2; 512]);
    assert_eq!(rig.turn(), bad(&[late], IoError::Media));
}

#[test]
fn a_flush_has_a_sync_of_its_own() {
    for stable in [Persist::OnFlush, Persist::PerWrite, Persist::Group] {
        let mut rig = Rig::new(64, 512, stable);
        let flush = rig.flush();
        assert_eq!((rig.turn(), rig.calls()), (vec![], vec![IoRequest::Sync]), "{stable:?}");
        let late = rig.flush();
        assert_eq!((rig.turn(), syncs(&rig)), (vec![], 1));
        rig.end_sync(Ok(0));
        assert_eq!((rig.turn(), syncs(&rig)), (good(&[flush]), 1), "it came during the first one");
        rig.end_sync(Ok(0));
        assert_eq!((rig.turn(), syncs(&rig)), (good(&[late]), 0));
    }
}

#[test]
fn a_failed_sync_fails_all_writes_that_have_begun_and_ends_writing() {
    for (errno, fault) in [
        (libc::EIO, IoError::Media),
        (libc::ENOSPC, IoError::NoSpace),
        (libc::EAGAIN, IoError::System),
        (libc::EINVAL, IoError::System),
    ] {
        let mut rig = Rig::new(64, 512, Persist::Group);
        let covered = [rig.write(0, &[1; 512]), rig.write(1, &[2; 512])];
        rig.run(0, WHOLE);
        rig.run(0, WHOLE);
        assert_eq!(rig.turn(), []);
        let waiting = rig.write(2, &[3; 512]);
        rig.run(1, WHOLE);
        let flush = rig.flush();
        let (under_way, read) = (rig.write(3, &[4; 512]), rig.read(8, 1));
        assert_eq!((rig.turn(), rig.store.degraded()), (vec![], None));
        rig.end_sync(Err(errno));
        let expected = bad(&[covered[0], covered[1], waiting, flush], fault);
        assert_eq!(rig.turn(), expected);
        assert_eq!((rig.store.degraded(), syncs(&rig)), (Some(fault), 0));
        rig.run(0, WHOLE);
        assert_eq!(rig.turn(), bad(&[under_way], IoError::Media), "what the failure lost is not known");
        rig.run(0, WHOLE);
        assert_eq!(rig.turn(), good(&[read]));
        assert_eq!(rig.frame(read, 0, 1)[0], 8 + (OFFSET / 512) as u8);

        let refused = rig.write(0, &[5; 512]);
        let discard = rig.submit(Kind::Discard, 0, &range(0, 1), 0, 0).unwrap();
        let flush = rig.flush();
        assert!(rig.calls().is_empty());
        let mut expected = bad(&[refused, discard], IoError::ReadOnly);
        expected.extend(bad(&[flush], fault));
        assert_eq!(rig.turn(), expected);
        let read = rig.read(8, 2);
        assert_eq!(rig.run_all(), good(&[read]));
    }
}

/// Ranges of a discard; the rest of the sector is unused.
fn range(sector: u64, count: u64) -> Vec<u8> {
    ranges(&[(sector, count)])
}

fn ranges(all: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = all.iter().flat_map(|(at, count)| (at | count << 48).to_le_bytes()).collect();
    bytes.resize(512, 0);
    bytes
}

#[test]
fn a_short_transfer_goes_on_where_it_ended() {
    // In place, through a bounce buffer, and in two pieces.
    for (skew, cut) in [(0, 0), (8, 0), (0, 700)] {
        let mut rig = Rig::new(64, 512, Persist::OnFlush);
        let data: Vec<u8> = (0..2048).map(|at| (at / 7) as u8).collect();
        let write = rig.submit(Kind::Write, 4, &data, skew, cut).unwrap();
        let IoRequest::Write { memory: first, .. } = rig.calls()[0] else { panic!("no write") };
        for part in 0..4u32 {
            let at = OFFSET + 4 * 512 + u64::from(part) * 512;
            let memory = IoSlice { base: first.base + part as usize * 512, bytes: 2048 - part * 512 };
            assert_eq!(rig.calls(), [IoRequest::Write { at, memory, stable: false }]);
            rig.run(0, 512);
            assert_eq!(rig.turn(), if part == 3 { good(&[write]) } else { vec![] });
        }
        assert!(rig.disk()[4 * 512..8 * 512] == data);

        let read = rig.submit(Kind::Read, 4, &[0; 2048], skew, cut).unwrap();
        rig.run(0, 1024);
        assert_eq!(rig.turn(), []);
        rig.run(0, 512);
        assert_eq!(rig.turn(), []);
        rig.run(0, WHOLE);
        assert_eq!(rig.turn(), good(&[read]));
        assert!(rig.frame(read, skew, 2048) == data);
    }
}

#[test]
fn an_end_in_the_middle_and_an_error_in_the_middle_are_reported() {
    for kind in [Kind::Read, Kind::Write] {
        for (outcome, fault) in [
            (Ok(0), IoError::Media),
            (Err(libc::EIO), IoError::Media),
            (Err(libc::ENOSPC), IoError::NoSpace),
            (Err(libc::EAGAIN), IoError::Transient),
        ] {
            for done in [0, 512] {
                let mut rig = Rig::new(64, 512, Persist::Group);
                let token = rig.submit(kind, 0, &[1; 1024], 0, 0).unwrap();
                if done > 0 {
                    rig.run(0, done);
                    assert_eq!(rig.turn(), []);
                }
                rig.end(0, outcome);
                assert_eq!(rig.turn(), bad(&[token], fault), "{kind:?} {outcome:?} after {done}");
                assert_eq!((rig.calls(), rig.store.degraded()), (vec![], None));
            }
        }
    }
}

/// Every offset and length of up to 17 sectors. The fixture checks the alignment of each
/// call.
#[test]
fn a_part_of_a_block_changes_nothing_beside_it() {
    let mut rig = Rig::new(64, 4096, Persist::OnFlush);
    let mut model = rig.disk();
    for (sector, count) in (0..16).flat_map(|sector| (1..=16usize).map(move |count| (sector, count))) {
        for (skew, cut) in [(0, 0), (8, 300)] {
            let data: Vec<u8> = (0..count * 512).map(|at| (at / 5 + sector + count + skew) as u8).collect();
            model[sector * 512..][..data.len()].copy_from_slice(&data);
            let write = rig.submit(Kind::Write, sector as u64, &data, skew, cut).unwrap();
            assert_eq!(rig.run_all(), good(&[write]), "{sector} + {count}");
            assert!(rig.disk() == model, "{sector} + {count}");
            let read = rig.submit(Kind::Read, sector as u64, &vec![0; data.len()], skew, cut).unwrap();
            assert_eq!(rig.run_all(), good(&[read]));
            assert!(rig.frame(read, skew, data.len()) == data, "{sector} + {count}");
        }
    }
}

/// As long as a frame can be, though a regular bounce buffer has room for 17 sectors only.
/// Several operations are in flight at once, each with its own buffer.
#[test]
fn what_is_too_long_for_a_place_gets_a_wide_one() {
    for block in [512, 4096] {
        let mut rig = Rig::new(512, block, Persist::OnFlush);
        let mut model = rig.disk();
        let counts = [17usize, 18, 24, 25, 31, 56, 64];
        let data = |count: usize| (0..count * 512).map(|at| (at / 3 + count) as u8).collect::<Vec<u8>>();
        // One block or more apart, and none of them whole.
        let sector = |at: usize| (at * 72 + 3) as u64;
        let writes: Vec<u32> = (counts.iter().enumerate())
            .map(|(at, count)| {
                let data = data(*count);
                model[sector(at) as usize * 512..][..data.len()].copy_from_slice(&data);
                rig.submit(Kind::Write, sector(at), &data, 8, 300).unwrap()
            })
            .collect();
        let mut done = rig.run_all();
        done.sort_unstable_by_key(|(token, _)| *token);
        assert_eq!(done, good(&writes), "blocks of {block}");
        assert!(rig.disk() == model, "blocks of {block}");
        for (at, count) in counts.into_iter().enumerate() {
            let read = rig.submit(Kind::Read, sector(at), &vec![0; count * 512], 8, 300).unwrap();
            assert_eq!(rig.run_all(), good(&[read]), "{count}");
            assert!(rig.frame(read, 8, count * 512) == data(count), "{count}");
        }
    }
}

#[test]
fn whole_blocks_are_not_read_first() {
    let mut rig = Rig::new(64, 4096, Persist::OnFlush);
    for (sector, sectors, reads) in [(8, 8, false), (8, 16, false), (9, 8, true), (3, 1, true), (7, 2, true)]
    {
        let write = rig.write(sector, &vec![1; sectors * 512]);
        assert_eq!(matches!(rig.calls()[..], [IoRequest::Read { .. }]), reads, "{sector} + {sectors}");
        assert_eq!(rig.run_all(), good(&[write]));
    }
    // Nothing is overwritten if it could not be read.
    let before = rig.disk();
    let write = rig.write(3, &[9; 512]);
    rig.end(0, Err(libc::EIO));
    assert_eq!((rig.turn(), rig.calls()), (bad(&[write], IoError::Media), vec![]));
    assert!(rig.disk() == before);
}

#[test]
fn only_writes_that_are_stable_each_say_so_and_only_groups_wait() {
    for (stable, each, waits) in
        [(Persist::PerWrite, true, false), (Persist::OnFlush, false, false), (Persist::Group, false, true)]
    {
        let mut rig = Rig::new(64, 512, stable);
        let write = rig.write(0, &[1; 512]);
        assert!(matches!(rig.calls()[..], [IoRequest::Write { stable, .. }] if stable == each), "{stable:?}");
        rig.run(0, WHOLE);
        assert_eq!(rig.turn(), if waits { vec![] } else { good(&[write]) }, "{stable:?}");
        assert_eq!(syncs(&rig), usize::from(waits));
    }
}

#[test]
fn a_request_that_is_too_large_is_a_fault() {
    let data = vec![1; bounce::WIDE_BYTES + 512];
    let mut rig = Rig::new(128, 512, Persist::OnFlush);
    for kind in [Kind::Read, Kind::Write] {
        let token = rig.submit(kind, 0, &data, 8, 0).unwrap();
        assert_eq!((rig.turn(), rig.calls()), (bad(&[token], IoError::System), vec![]));
        let token = rig.submit(kind, 0, &data, 0, 0).unwrap();
        assert_eq!(rig.run_all(), good(&[token]), "it needs no place");
    }
}

#[test]
fn what_finds_no_place_waits_and_is_done() {
    let mut rig = Rig::new(64, 512, Persist::OnFlush);
    let read = |rig: &mut Rig, n| rig.submit(Kind::Read, n % 64, &[0; 512], 0, 0);
    let taken = (0u64..).take_while(|n| read(&mut rig, *n).is_ok()).count();
    assert_eq!(taken, DEPTH + BACKLOG);
    assert_eq!(rig.calls().len(), DEPTH);
    assert!(read(&mut rig, 0).is_err(), "nothing was done");
    let mut finished = Vec::new();
    while !rig.calls().is_empty() {
        (0..rig.calls().len()).for_each(|_| rig.run(0, WHOLE));
        finished.extend(rig.turn());
        assert!(rig.calls().len() <= DEPTH);
    }
    finished.sort_by_key(|(token, _)| *token);
    assert_eq!(finished, good(&(0..taken as u32).collect::<Vec<_>>()));
    assert!(read(&mut rig, 0).is_ok());
}

#[test]
fn ranges_are_forgotten_one_by_one_and_the_last_waits_as_a_write_does() {
    let list = ranges(&[(1, 2), (5, 0), (7, 1), (40, 24)]);
    for (stable, waits) in [(Persist::OnFlush, false), (Persist::PerWrite, true), (Persist::Group, true)] {
        for cut in [0, 13] {
            let mut rig = Rig::new(64, 512, stable);
            let discard = rig.submit(Kind::Discard, 0, &list, 0, cut).unwrap();
            for (sector, count) in [(1, 2), (7, 1), (40, 24)] {
                let call = IoRequest::Punch { at: OFFSET + sector * 512, bytes: count * 512 };
                assert_eq!((rig.turn(), rig.calls()), (vec![], vec![call]));
                rig.end(0, Ok(0));
            }
            assert_eq!(rig.turn(), if waits { vec![] } else { good(&[discard]) }, "{stable:?}");
            assert_eq!(rig.calls(), vec![IoRequest::Sync; usize::from(waits)]);
            if waits {
                rig.end_sync(Ok(0));
                assert_eq!(rig.turn(), good(&[discard]));
            }
            let empty = rig.submit(Kind::Discard, 0, &[0; 512], 0, 0).unwrap();
            assert_eq!(rig.run_all(), good(&[empty]));
            let fails = rig.submit(Kind::Discard, 0, &list, 0, 0).unwrap();
            rig.end(0, Err(libc::EIO));
            assert_eq!((rig.turn(), rig.calls()), (bad(&[fails], IoError::Media), vec![]));
        }
    }
}

#[test]
fn the_size_is_what_the_disk_says_unless_it_is_fixed() {
    let measure = |rig: &mut Rig, outcome| {
        let token = rig.submit(Kind::Measure, 0, &[], 0, 0).unwrap();
        assert_eq!(rig.calls(), [IoRequest::Measure]);
        rig.end(0, outcome);
        assert_eq!(rig.turn(), vec![(token, outcome.map(|_| ()).map_err(IoError::from_errno))]);
        rig.store.geometry().sectors
    };
    let mut rig = Rig::new(64, 4096, Persist::OnFlush);
    assert_eq!(measure(&mut rig, Ok(OFFSET + 80 * 512)), 80);
    assert_eq!(measure(&mut rig, Ok(OFFSET + 79 * 512 + 100)), 72, "whole blocks");
    assert_eq!(measure(&mut rig, Err(libc::EIO)), 72);
    assert_eq!(measure(&mut rig, Ok(OFFSET + 8 * 512)), 8);
    assert_eq!(measure(&mut rig, Ok(OFFSET)), 8, "nothing is no size");
    let mut rig = Rig::with(64, 512, Persist::OnFlush, Some(64 * 512));
    assert_eq!(measure(&mut rig, Ok(OFFSET + 80 * 512)), 64);
    assert_eq!(measure(&mut rig, Ok(OFFSET + 8 * 512)), 64);
}

#[test]
fn a_write_beyond_the_end_of_a_file_brings_nothing_back() {
    let mut rig = Rig::new(64, 512, Persist::OnFlush);
    rig.set_end(OFFSET + 32 * 512);
    let beyond = [rig.write(31, &[1; 1024]), rig.write(40, &[1; 512])];
    assert_eq!((rig.calls(), rig.turn()), (vec![], bad(&beyond, IoError::Media)));
    let within = rig.write(31, &[1; 512]);
    assert_eq!(rig.run_all(), good(&[within]));
    rig.set_end(OFFSET + 64 * 512);
    let within = rig.write(40, &[1; 512]);
    assert_eq!(rig.run_all(), good(&[within]));
    rig.set_end(OFFSET);
    let cut = rig.write(40, &[1; 512]);
    assert_eq!(rig.run_all(), bad(&[cut], IoError::Media), "queried again after a turn");
}
