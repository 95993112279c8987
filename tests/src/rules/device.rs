//! ATA commands without sectors: IDENTIFY DEVICE and the rest.

use super::rules;
use crate::frame::{ATA, ata, ata_done, ata_with};
use crate::{Bench, LARGE, MAIN, READ_ONLY, SENTINEL, Stand, THIN};

rules! {
    identify_has_the_published_words ["P-IDN-1" "P-IDN-3" "P-IDN-5"]
    identify_tells_the_size ["P-IDN-2"]
    identify_texts_are_printable ["P-IDN-4"]
    identify_takes_any_count_and_tells_the_size_of_now ["P-ATA-13"]
    flushes_are_answered ["P-ATA-14"]
    power_mode_is_active ["P-ATA-15"]
    features_of_a_durable_export ["P-ATA-16"]
    features_of_a_volatile_export ["P-ATA-16" "P-ATA-17" "P-IDN-7"]
    identify_tells_of_trim_where_it_is ["P-IDN-6" "P-TRM-4"]
    other_features_are_aborted ["P-ATA-17"]
    other_opcodes_are_aborted ["P-ATA-18"]
}

/// The 256 words of an export, behind a header that is as it should be.
#[track_caller]
fn identify(bench: &mut Bench<'_>, from: crate::Address, count: u8) -> Vec<u16> {
    // As Linux asks: with 0xA0 in the device register.
    let ask = bench.ask(from, ATA, ata_with(0, 0, 0xEC, 0xA000_0000, count, &[]));
    let replies = bench.exchange(&ask.bytes());
    assert_eq!(replies.len(), 1);
    let data = replies[0][ask.link_len() + 22..].to_vec();
    assert_eq!(data.len(), 512);
    assert_eq!(replies[0], ask.reply(from, &ata_done(&ask.argument, 0x40, 0, &data)));
    data.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

fn identify_has_the_published_words(bench: &mut Bench<'_>) {
    let words = identify(bench, MAIN, 1);
    let fixed = [
        (47, 0x8000),
        (49, 0x0200),
        (50, 0x4000),
        (83, 0x7400),
        (84, 0x4000),
        (86, 0x3400),
        (87, 0x4000),
        (93, 0x400b),
        (209, 0x4000),
    ];
    for (word, value) in fixed {
        assert_eq!(words[word], value, "word {word}");
    }
    let named = |word| {
        let texts = (10..20).contains(&word) || (23..47).contains(&word);
        let sizes = matches!(word, 60 | 61 | 100..=103 | 106);
        texts || sizes || fixed.iter().any(|(fixed, _)| *fixed == word)
    };
    for (word, value) in words.iter().enumerate().filter(|(word, _)| !named(*word)) {
        assert_eq!(*value, 0, "word {word}");
    }
    let physical = words[106];
    assert!(physical == 0x4000 || physical & 0xFFF0 == 0x6000, "word 106 is {physical:#x}");
}

fn identify_tells_the_size(bench: &mut Bench<'_>) {
    for (export, sectors) in Stand::exports() {
        let words = identify(bench, export, 1);
        let low = sectors.min(0x0fff_ffff);
        assert_eq!(u64::from(words[60]) | u64::from(words[61]) << 16, low, "{export:?}");
        let parts = (0..4).map(|at| u64::from(words[100 + at]) << (16 * at));
        assert_eq!(parts.sum::<u64>(), sectors, "{export:?}");
    }
}

fn identify_texts_are_printable(bench: &mut Bench<'_>) {
    let mut serials = Vec::new();
    for (export, _) in Stand::exports() {
        let words = identify(bench, export, 1);
        let text = |range: std::ops::Range<usize>| {
            let bytes: Vec<u8> = words[range].iter().flat_map(|word| word.to_be_bytes()).collect();
            assert!(bytes.iter().all(|byte| (b' '..=b'~').contains(byte)), "{bytes:?}");
            String::from_utf8(bytes).unwrap().trim_end().to_owned()
        };
        assert!(text(27..47).starts_with("xblade"), "the model");
        assert!(!text(23..27).is_empty(), "the firmware");
        serials.push(text(10..20));
    }
    assert!(serials.iter().all(|serial| !serial.is_empty()));
}

fn identify_takes_any_count_and_tells_the_size_of_now(bench: &mut Bench<'_>) {
    for count in [0, 1, 2, 255] {
        let words = identify(bench, READ_ONLY, count);
        assert_eq!(words[100], 64, "count {count}");
    }
    for sectors in [12, 8] {
        bench.stand.resize(SENTINEL, sectors);
        assert_eq!(u64::from(identify(bench, SENTINEL, 1)[100]), sectors);
        let (status, error) = if sectors == 12 { (0x40, 0) } else { (0x41, 0x10) };
        let data = if sectors == 12 { Stand::original(SENTINEL, 11, 1) } else { Vec::new() };
        bench.ata(SENTINEL, ata(0x20, 11, 1, &[]), status, error, &data);
    }
}

fn flushes_are_answered(bench: &mut Bench<'_>) {
    for opcode in [0xE7, 0xEA] {
        for flags in [0, 0x40] {
            bench.ata(MAIN, ata_with(flags, 0, opcode, 0, 0, &[]), 0x40, 0, &[]);
        }
    }
}

fn power_mode_is_active(bench: &mut Bench<'_>) {
    let ask = bench.ask(MAIN, ATA, ata(0xE5, 0, 0, &[]));
    let mut argument = ata_done(&ask.argument, 0x40, 0, &[]);
    argument[2] = 0xff;
    let expected = ask.reply(MAIN, &argument);
    bench.expect(&ask, expected);
}

fn features_of_a_durable_export(bench: &mut Bench<'_>) {
    for feature in [0x02, 0x82] {
        bench.ata(MAIN, ata_with(0, feature, 0xEF, 0, 0, &[]), 0x40, 0, &[]);
    }
}

fn other_features_are_aborted(bench: &mut Bench<'_>) {
    for feature in [0x00, 0x03, 0x05, 0xAA, 0xff] {
        bench.ata(MAIN, ata_with(0, feature, 0xEF, 0, 0, &[]), 0x41, 0x04, &[]);
    }
}

/// Zeros that forget what is written do not claim to be durable: their cache is
/// on, and cannot be switched off.
fn features_of_a_volatile_export(bench: &mut Bench<'_>) {
    bench.ata(LARGE, ata_with(0, 0x02, 0xEF, 0, 0, &[]), 0x40, 0, &[]);
    bench.ata(LARGE, ata_with(0, 0x82, 0xEF, 0, 0, &[]), 0x41, 0x04, &[]);
    for (export, bit) in [(LARGE, 0x20), (MAIN, 0), (THIN, 0)] {
        let words = identify(bench, export, 1);
        assert_eq!((words[82], words[85]), (bit, bit), "{export:?}");
    }
}

fn identify_tells_of_trim_where_it_is(bench: &mut Bench<'_>) {
    for (export, _) in Stand::exports() {
        let words = identify(bench, export, 1);
        let expected = if export == THIN { (0x4020, 16, 1) } else { (0, 0, 0) };
        assert_eq!((words[69], words[105], words[169]), expected, "{export:?}");
    }
}

fn other_opcodes_are_aborted(bench: &mut Bench<'_>) {
    let known = [0x20, 0x24, 0xC8, 0x25, 0x30, 0x34, 0xCA, 0x35, 0xEC, 0xE7, 0xEA, 0xE5, 0xEF];
    for opcode in (0..=255).filter(|opcode| !known.contains(opcode)) {
        bench.ata(MAIN, ata_with(0, 0xD0, opcode, 0xC24F00, 1, &[]), 0x41, 0x04, &[]);
    }
}
