//! Data: what was written is read back, whatever the frames look like.

use super::{WRITTEN, rules};
use crate::frame::{ATA, ata, ata_done};
use crate::{Bench, MAIN, Stand, pattern};

rules! {
    every_count_is_read_exactly ["P-RPL-8" "P-ATA-1"]
    every_count_is_written_exactly ["P-ATA-1" "P-ATA-11"]
    write_takes_no_more_than_its_count ["P-HDR-9"]
    data_that_the_medium_has_lost_is_an_ata_error ["P-ATA-12"]
}

fn every_count_is_read_exactly(bench: &mut Bench<'_>) {
    for count in 1..=bench.sectors() {
        for lba in [0, 1, 7, 500] {
            let data = Stand::original(MAIN, lba, usize::from(count));
            bench.ata(MAIN, ata(0x24, lba, count, &[]), 0x40, 0, &data);
        }
    }
}

fn every_count_is_written_exactly(bench: &mut Bench<'_>) {
    for count in 1..=bench.sectors() {
        let (lba, n) = (WRITTEN + 101, usize::from(count));
        let around = pattern(count, 5, n + 2);
        // In two steps, so that the sectors before and behind are known.
        for (at, data) in around.chunks(512).enumerate() {
            bench.ata(MAIN, ata(0x34, lba - 1 + at as u64, 1, data), 0x40, 0, &[]);
        }
        let data = pattern(count, 1000, n);
        bench.ata(MAIN, ata(0x34, lba, count, &data), 0x40, 0, &[]);
        let expected = [&around[..512], &data, &around[around.len() - 512..]].concat();
        assert_eq!(bench.stand.contents(MAIN, lba - 1, n + 2), expected, "count {count}");
        assert_eq!(bench.read(MAIN, lba, count), data, "count {count}");
    }
}

fn write_takes_no_more_than_its_count(bench: &mut Bench<'_>) {
    let lba = WRITTEN + 200;
    let before = bench.stand.contents(MAIN, lba + 1, 1);
    let data = [pattern(3, 3, 1), vec![0xEE; 512]].concat();
    bench.ata(MAIN, ata(0x34, lba, 1, &data), 0x40, 0, &[]);
    assert_eq!(bench.stand.contents(MAIN, lba, 2), [&data[..512], &before].concat());
}

/// The file is cut under the target's feet. No request has the error flag in
/// its reply, which Linux would wait 180 s for.
fn data_that_the_medium_has_lost_is_an_ata_error(bench: &mut Bench<'_>) {
    let cut = 1800;
    bench.stand.resize(MAIN, cut);
    for (opcode, error) in [(0x24, 0x40), (0x34, 0x04)] {
        for (lba, count) in [(cut, 1), (cut + 100, 2), (cut - 1, 2)] {
            let data = if opcode == 0x34 { pattern(1, 1, usize::from(count)) } else { Vec::new() };
            let ask = bench.ask(MAIN, ATA, ata(opcode, lba, count, &data));
            let expected = ask.reply(MAIN, &ata_done(&ask.argument, 0x41, error, &[]));
            bench.expect(&ask, expected);
        }
    }
    bench.stand.resize(MAIN, crate::MAIN_SECTORS);
    let data = Stand::original(MAIN, cut + 100, 2);
    bench.ata(MAIN, ata(0x24, cut + 100, 2, &[]), 0x40, 0, &data);
}
