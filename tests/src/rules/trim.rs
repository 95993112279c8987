//! TRIM: sectors are forgotten, and no others.

use xblade::wire::DropReason;

use super::rules;
use crate::frame::{ATA, SLOT_ANY, ata, ata_with, trim};
use crate::{Bench, LARGE, MAIN, READ_ONLY, THIN, THIN_SECTORS, pattern};

rules! {
    trimmed_sectors_are_zeros_and_neighbours_stay ["P-TRM-1"]
    every_place_of_every_block_counts ["P-TRM-2"]
    range_beyond_the_end_forgets_nothing ["P-TRM-3"]
    exports_that_keep_their_space_are_not_trimmed ["P-TRM-4"]
    other_features_and_counts_are_aborted ["P-TRM-5"]
    short_ranges_forget_nothing ["P-TRM-6"]
    broadcast_trims_are_ignored ["P-TRM-7"]
}

/// Sectors of the export in front of it are as at first.
const FIRST: u64 = 16;
/// Sectors behind those.
const REST: usize = (THIN_SECTORS - FIRST) as usize;

/// A TRIM of ranges that count from [`FIRST`].
fn trim_at(ranges: &[(u64, u16)]) -> Vec<u8> {
    trim(&ranges.iter().map(|(lba, count)| (FIRST + lba, *count)).collect::<Vec<_>>())
}

/// Fills sectors of the export, from [`FIRST`] on; returns what is in there then.
fn filled(bench: &mut Bench<'_>, seed: u8, sectors: u64) -> Vec<u8> {
    let most = bench.sectors();
    for lba in (0..sectors).step_by(most.into()) {
        let data = pattern(seed, lba, most.into());
        bench.ata(THIN, ata(0x34, FIRST + lba, most, &data), 0x40, 0, &[]);
    }
    pattern(seed, 0, sectors as usize)
}

/// Demands that this is in the file, and that the export tells so.
#[track_caller]
fn holds(bench: &mut Bench<'_>, expected: &[u8]) {
    let sectors = expected.len() / 512;
    assert!(bench.stand.contents(THIN, FIRST, sectors) == expected, "in the file");
    let most = bench.sectors();
    for (lba, part) in (FIRST..).step_by(most.into()).zip(expected.chunks(usize::from(most) * 512)) {
        assert!(bench.read(THIN, lba, most) == part, "sector {lba}");
    }
}

fn trimmed_sectors_are_zeros_and_neighbours_stay(bench: &mut Bench<'_>) {
    let mut expected = filled(bench, 1, 128);
    let ranges = [(3, 5), (0, 0), (20, 1), (40, 24), (60, 2), (127, 1), (THIN_SECTORS, 0)];
    bench.ata(THIN, trim_at(&ranges), 0x40, 0, &[]);
    for (lba, count) in ranges {
        let start = lba as usize * 512;
        if count > 0 {
            expected[start..start + usize::from(count) * 512].fill(0);
        }
    }
    holds(bench, &expected);
    // What is written afterwards is there.
    let again = pattern(2, 41, 1);
    bench.ata(THIN, ata(0x34, FIRST + 41, 1, &again), 0x40, 0, &[]);
    expected[41 * 512..42 * 512].copy_from_slice(&again);
    holds(bench, &expected);
    bench.ata(THIN, trim(&[(FIRST, REST as u16)]), 0x40, 0, &[]);
    holds(bench, &vec![0; REST * 512]);
}

/// As many blocks as a frame has room for, in pieces of any length.
fn every_place_of_every_block_counts(bench: &mut Bench<'_>) {
    let places = u64::from(bench.sectors()) * 64;
    let mut expected = filled(bench, 3, places);
    let ranges: Vec<_> = (0..places).map(|lba| (lba, u16::from(lba % 3 != 1))).collect();
    bench.ata(THIN, trim_at(&ranges), 0x40, 0, &[]);
    for (sector, (_, count)) in expected.chunks_mut(512).zip(&ranges) {
        if *count > 0 {
            sector.fill(0);
        }
    }
    holds(bench, &expected);
}

fn range_beyond_the_end_forgets_nothing(bench: &mut Bench<'_>) {
    let expected = filled(bench, 4, 64);
    let top = (1 << 48) - 1;
    for beyond in [(THIN_SECTORS, 1), (THIN_SECTORS - 1, 2), (0, THIN_SECTORS as u16 + 1), (top, 0xffff)] {
        for place in [0, 1, 63, 64, 127] {
            let mut ranges = vec![(FIRST, 8); 128];
            ranges[place] = beyond;
            bench.ata(THIN, trim(&ranges), 0x41, 0x10, &[]);
        }
    }
    holds(bench, &expected);
}

fn exports_that_keep_their_space_are_not_trimmed(bench: &mut Bench<'_>) {
    for export in [MAIN, READ_ONLY, LARGE] {
        let before = (export != LARGE).then(|| bench.stand.contents(export, 0, 8));
        bench.ata(export, trim(&[(0, 8)]), 0x41, 0x04, &[]);
        bench.ata(export, trim(&[]), 0x41, 0x04, &[]);
        assert_eq!(before, (export != LARGE).then(|| bench.stand.contents(export, 0, 8)), "{export:?}");
    }
}

fn other_features_and_counts_are_aborted(bench: &mut Bench<'_>) {
    let expected = filled(bench, 5, 16);
    let [_, _, _, _, _, _, _, _, _, _, _, _, ranges @ ..] = &trim_at(&[(0, 8)])[..] else { unreachable!() };
    for feature in [0x00, 0x02, 0x03, 0x81, 0xff] {
        bench.ata(THIN, ata_with(0x41, feature, 0x06, 0, 1, ranges), 0x41, 0x04, &[]);
    }
    for count in [bench.sectors() + 1, 17, 255] {
        bench.ata(THIN, ata_with(0x41, 0x01, 0x06, 0, count, ranges), 0x41, 0x04, &[]);
    }
    bench.ata(THIN, ata_with(0x41, 0x01, 0x06, 0, 0, ranges), 0x40, 0, &[]);
    holds(bench, &expected);
}

fn short_ranges_forget_nothing(bench: &mut Bench<'_>) {
    let expected = filled(bench, 6, 16);
    for (count, bytes) in [(1, 0), (1, 8), (1, 511), (2, 512), (2, 1023)] {
        let mut argument = trim_at(&[(0, 8); 128]);
        argument[2] = count;
        argument.truncate(12 + bytes);
        let ask = bench.ask(THIN, ATA, argument);
        let refusal = ask.refusal(THIN, 2);
        bench.expect(&ask, refusal);
    }
    holds(bench, &expected);
}

fn broadcast_trims_are_ignored(bench: &mut Bench<'_>) {
    let expected = filled(bench, 7, 16);
    let ask = bench.ask((7, SLOT_ANY), ATA, trim_at(&[(0, 8)]));
    bench.silence(&ask.bytes(), &[DropReason::BroadcastWrite; 3]);
    let ask = bench.ask(THIN, ATA, trim_at(&[(0, 8)])).broadcast();
    bench.silence(&ask.bytes(), &[DropReason::BroadcastWrite]);
    holds(bench, &expected);
}
