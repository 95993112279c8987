//! ATA: ranges, counts and what is refused. Errors are ATA errors: the replies
//! are compared as a whole, and none of these has the error flag.

use xblade::wire::DropReason;

use super::{WRITTEN, rules};
use crate::frame::{ATA, ata, ata_with};
use crate::{Bench, LARGE, LARGE_SECTORS, MAIN, MAIN_SECTORS, READ_ONLY, READ_ONLY_SECTORS, Stand, pattern};

rules! {
    opcode_decides_on_direction_and_width ["P-ATA-1" "P-ATA-2"]
    range_is_exact_and_does_not_wrap ["P-ATA-3" "P-ATA-4"]
    sectors_above_28_bits_are_reached_by_48_only ["P-ATA-2" "P-ATA-3"]
    count_0_moves_nothing ["P-ATA-5"]
    what_fits_is_served_whatever_is_advertised ["P-ATA-6"]
    short_payload_is_refused_as_a_whole ["P-ATA-7"]
    probe_read_carries_a_payload ["P-ATA-8"]
    read_only_exports_fail_writes ["P-ATA-9"]
    replies_echo_the_lba_and_known_flags ["P-ATA-11"]
}

const GOOD: u8 = 0x40;
const ERROR: u8 = 0x41;
const ABORT: u8 = 0x04;
const NOT_FOUND: u8 = 0x10;

fn opcode_decides_on_direction_and_width(bench: &mut Bench<'_>) {
    let here = Stand::original(MAIN, 0x345, 1);
    for opcode in [0x20, 0xC8] {
        for flags in [0, 0x01, 0x40, 0x53] {
            for upper in [0u64, 0xA, 0xE, 0xF] {
                // What is above 28 bits is not part of the address.
                let lba = 0x345 | upper << 28 | 0xABCD << 32;
                bench.ata(MAIN, ata_with(flags, 0, opcode, lba, 1, &[]), GOOD, 0, &here);
            }
        }
    }
    for opcode in [0x24, 0x25] {
        for flags in [0, 0x01, 0x40, 0x53] {
            bench.ata(MAIN, ata_with(flags, 0, opcode, 0x345, 1, &[]), GOOD, 0, &here);
            bench.ata(MAIN, ata_with(flags, 0, opcode, 0x345 | 0xE << 28, 1, &[]), ERROR, NOT_FOUND, &[]);
        }
    }
    for (step, opcode) in [0x30, 0xCA, 0x34, 0x35].into_iter().enumerate() {
        for flags in [0, 0x40, 0x53] {
            let lba = WRITTEN + 10 + step as u64;
            let data = pattern(flags | step as u8, 99, 1);
            let upper = if matches!(opcode, 0x30 | 0xCA) { 0xE << 28 } else { 0 };
            bench.ata(MAIN, ata_with(flags, 0, opcode, lba | upper, 1, &data), GOOD, 0, &[]);
            assert_eq!(bench.stand.contents(MAIN, lba, 1), data, "{opcode:#x} {flags:#x}");
        }
    }
}

fn range_is_exact_and_does_not_wrap(bench: &mut Bench<'_>) {
    let most = bench.sectors();
    for (export, size) in [(MAIN, MAIN_SECTORS), (READ_ONLY, READ_ONLY_SECTORS), (LARGE, LARGE_SECTORS)] {
        for count in [1, most] {
            let last = size - u64::from(count);
            // The end of 7.3 may have been written.
            if export != MAIN {
                let data = Stand::original(export, last, usize::from(count));
                bench.ata(export, ata(0x24, last, count, &[]), GOOD, 0, &data);
            } else {
                bench.read(MAIN, last, count);
            }
            for lba in [last + 1, size, size + 1, 1 << 32, (1 << 48) - 1, (1 << 48) - u64::from(most)] {
                bench.ata(export, ata(0x24, lba, count, &[]), ERROR, NOT_FOUND, &[]);
            }
        }
    }
    for lba in [MAIN_SECTORS - 1, MAIN_SECTORS, (1 << 48) - 1] {
        let count = most;
        let data = pattern(1, 0, usize::from(count));
        bench.ata(MAIN, ata(0x34, lba, count, &data), ERROR, NOT_FOUND, &[]);
    }
    bench.ata(MAIN, ata(0x34, MAIN_SECTORS - 1, 1, &pattern(2, 0, 1)), GOOD, 0, &[]);
    assert_eq!(bench.stand.contents(MAIN, MAIN_SECTORS - 1, 1), pattern(2, 0, 1));
    for opcode in [0x24, 0x34] {
        let ask = bench.ask(MAIN, ATA, ata(opcode, (1 << 48) - 1, 255, &[]));
        let replies = bench.exchange(&ask.bytes());
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0][ask.link_len()], 0x18, "no error flag");
        assert_eq!(replies[0][ask.link_len() + 13], ERROR);
    }
}

fn sectors_above_28_bits_are_reached_by_48_only(bench: &mut Bench<'_>) {
    let end = 1 << 28;
    bench.ata(LARGE, ata(0x20, end - 1, 1, &[]), GOOD, 0, &[0; 512]);
    bench.ata(LARGE, ata(0x20, end - 1, 2, &[]), GOOD, 0, &[0; 1024]);
    bench.ata(LARGE, ata(0x24, LARGE_SECTORS - 1, 1, &[]), GOOD, 0, &[0; 512]);
    bench.ata(LARGE, ata(0x24, LARGE_SECTORS, 1, &[]), ERROR, NOT_FOUND, &[]);
    // In 28 bits it is an early sector, which exists.
    bench.ata(LARGE, ata(0x20, LARGE_SECTORS, 1, &[]), GOOD, 0, &[0; 512]);
    bench.ata(MAIN, ata(0x20, end + 5, 1, &[]), GOOD, 0, &Stand::original(MAIN, 5, 1));
}

fn count_0_moves_nothing(bench: &mut Bench<'_>) {
    let before = bench.stand.contents(MAIN, WRITTEN, 1);
    for opcode in [0x20, 0x24, 0x30, 0x34] {
        for data in [&[][..], &[0xEE; 512]] {
            bench.ata(MAIN, ata(opcode, WRITTEN, 0, data), GOOD, 0, &[]);
        }
    }
    assert_eq!(bench.stand.contents(MAIN, WRITTEN, 1), before);
}

/// At MTU 9000 it is one sector more. vblade advertises that one, and its hosts go
/// on with it when another target takes its place.
fn what_fits_is_served_whatever_is_advertised(bench: &mut Bench<'_>) {
    let fits = bench.variant.sectors_fitting();
    for count in [bench.sectors(), fits] {
        bench.ata(MAIN, ata(0x24, 3, count, &[]), GOOD, 0, &Stand::original(MAIN, 3, usize::from(count)));
        let (lba, data) = (WRITTEN + 61, pattern(count, 61, usize::from(count)));
        bench.ata(MAIN, ata(0x34, lba, count, &data), GOOD, 0, &[]);
        assert_eq!(bench.read(MAIN, lba, count), data, "count {count}");
    }
    // A larger MTU would carry these, so there is no error.
    for count in [fits + 1, 20] {
        let ask = bench.ask(MAIN, ATA, ata(0x24, 0, count, &[]));
        bench.silence(&ask.bytes(), &[DropReason::ReplyTooLong]);
    }
    // No frame carries these.
    for count in [128, 255] {
        bench.ata(MAIN, ata(0x24, 0, count, &[]), ERROR, ABORT, &[]);
    }
    let before = bench.stand.contents(MAIN, WRITTEN, 32);
    for count in [fits + 1, 255] {
        // As much payload as a frame can have.
        let room = (bench.variant.frame_len_max() - 36).min(usize::from(count) * 512 - 1);
        let ask = bench.ask(MAIN, ATA, ata(0x34, WRITTEN, count, &vec![0xEE; room]));
        let expected = ask.refusal(MAIN, 2);
        bench.expect(&ask, expected);
    }
    assert_eq!(bench.stand.contents(MAIN, WRITTEN, 32), before);
}

fn short_payload_is_refused_as_a_whole(bench: &mut Bench<'_>) {
    let most = usize::from(bench.sectors());
    let before = bench.stand.contents(MAIN, WRITTEN, most);
    for (count, bytes) in [(1, 0), (1, 511), (2, 1023), (2, 512), (most, most * 512 - 1), (most, 512)] {
        let ask = bench.ask(MAIN, ATA, ata(0x34, WRITTEN, count as u8, &vec![0xEE; bytes]));
        let expected = ask.refusal(MAIN, 2);
        bench.expect(&ask, expected);
    }
    assert_eq!(bench.stand.contents(MAIN, WRITTEN, most), before);
}

/// By size it looks like a write.
fn probe_read_carries_a_payload(bench: &mut Bench<'_>) {
    let count = bench.sectors();
    let bytes = usize::from(count) * 512;
    for flags in [0x40, 0x41] {
        for filler in [0, 0xEE] {
            let probe = ata_with(flags, 0, 0x24, 0, count, &vec![filler; bytes]);
            bench.ata(MAIN, probe, GOOD, 0, &Stand::original(MAIN, 0, usize::from(count)));
        }
    }
    assert_eq!(bench.stand.contents(MAIN, 0, 16), Stand::original(MAIN, 0, 16));
}

fn read_only_exports_fail_writes(bench: &mut Bench<'_>) {
    for opcode in [0x30, 0x34, 0xCA, 0x35] {
        for (lba, count, data) in [(0, 1, &[7; 512][..]), (0, 0, &[]), (1 << 20, 1, &[7; 512]), (0, 1, &[])] {
            bench.ata(READ_ONLY, ata(opcode, lba, count, data), ERROR, ABORT, &[]);
        }
    }
    bench.ata(READ_ONLY, ata(0x20, 0, 1, &[]), GOOD, 0, &Stand::original(READ_ONLY, 0, 1));
    let size = READ_ONLY_SECTORS as usize;
    assert_eq!(bench.stand.contents(READ_ONLY, 0, size), Stand::original(READ_ONLY, 0, size));
}

/// The feature register, unknown flags and the reserved bytes do not come back.
fn replies_echo_the_lba_and_known_flags(bench: &mut Bench<'_>) {
    for flags in [0xff, 0xAC, 0x53] {
        let mut argument = ata_with(flags, 0xD5, 0x20, 0xFEDC_E000_0007, 1, &[]);
        argument[10..12].fill(0xEE);
        bench.ata(MAIN, argument, GOOD, 0, &Stand::original(MAIN, 7, 1));
        let mut argument = ata_with(flags, 0xD5, 0x24, 0x0605_0403_0201, 1, &[]);
        argument[10..12].fill(0xEE);
        bench.ata(MAIN, argument, ERROR, NOT_FOUND, &[]);
    }
}
