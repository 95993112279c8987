//! DATA SET MANAGEMENT.

use super::*;

const TRIM: u8 = 0x01;

/// A frame with `data_len` bytes of ranges.
fn trim(feature: u8, count: u8, data_len: usize) -> Vec<u8> {
    let mut asked = ata(0x06, count, 0, data_len);
    asked[25] = feature;
    asked
}

/// A state whose store supports discard.
fn thin() -> State {
    let mut state = state();
    state.geometry.discards = true;
    state
}

fn trim_words(state: &mut State) -> [u16; 3] {
    let words = run(state, &ata(0xEC, 1, 0, 0)).reply().split_off(36);
    [69, 105, 169].map(|word| u16::from_le_bytes([words[word * 2], words[word * 2 + 1]]))
}

#[test]
fn blocks_of_ranges_reach_the_store() {
    for count in 1..=8 {
        assert_eq!(run(&mut thin(), &trim(TRIM, count, sectors(count))), Seen::Discard(count));
    }
    let mut tagged = trim(TRIM, 1, 512);
    tagged.splice(12..12, [0x81, 0x00, 0xE0, 0x00]);
    assert_eq!(run(&mut thin(), &tagged), Seen::Discard(1));
    let plain = run(&mut thin(), &trim(TRIM, 0, 0)).reply();
    assert_eq!((plain[27], plain[25], plain.len()), (0x40, 0, 60), "count 0 forgets nothing");
}

#[test]
fn only_a_store_that_forgets_and_may_be_written_is_trimmed() {
    let mut read_only = with_settings(|settings| settings.read_only = true);
    read_only.geometry.discards = true;
    for mut state in [state(), read_only] {
        for count in [0, 1, 9] {
            assert_eq!(run(&mut state, &trim(TRIM, count, sectors(count))).status(), ABORT, "{count}");
        }
        assert_eq!(trim_words(&mut state), [0; 3], "nor is it told");
    }
    assert_eq!(trim_words(&mut thin()), [0x4020, 16, 1]);
    let mut reserved = thin();
    reserved.set_reservation([OTHER].into_iter()).unwrap();
    assert_eq!(run(&mut reserved, &trim(TRIM, 1, 512)).refusal(), 6);
}

#[test]
fn every_other_feature_and_a_large_count_are_aborted() {
    for feature in (0..=255).filter(|feature| *feature != TRIM) {
        assert_eq!(run(&mut thin(), &trim(feature, 1, 512)).status(), ABORT, "feature {feature:#x}");
    }
    for count in [9, 16, 255] {
        assert_eq!(run(&mut thin(), &trim(TRIM, count, sectors(count))).status(), ABORT, "count {count}");
    }
}

#[test]
fn short_ranges_are_refused_as_a_whole() {
    for (count, present) in [(1, 0), (1, 511), (2, 512), (2, 1023), (8, 4095)] {
        assert_eq!(run(&mut thin(), &trim(TRIM, count, present)).refusal(), 2, "{count}, {present} bytes");
    }
    assert_eq!(run(&mut thin(), &trim(TRIM, 1, 600)), Seen::Discard(1), "more are ignored");
}

#[test]
fn broadcast_trims_are_ignored() {
    for (at, bytes) in [(16, &[0xff, 0xff][..]), (18, &[0xff]), (0, &[0xff; 6])] {
        for (feature, count) in [(TRIM, 1), (TRIM, 0), (0, 1)] {
            let mut asked = trim(feature, count, 512);
            asked[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(run(&mut thin(), &asked), Seen::Ignored(DropReason::BroadcastWrite));
        }
    }
}
