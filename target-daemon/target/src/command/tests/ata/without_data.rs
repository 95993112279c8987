//! ATA commands that move no sectors.

use super::*;

const GOOD: (u8, u8) = (0x40, 0x00);

#[test]
fn identify_takes_any_count() {
    for count in [0, 1, 2, 255] {
        let reply = run(&mut state(), &ata(0xEC, count, 0xA000_0000, 0)).reply();
        assert_eq!(reply.len(), 36 + 512, "count {count}");
        assert_eq!(reply[24..36], [0x40, 0, 0, 0x40, 0, 0, 0, 0xA0, 0, 0, 0, 0]);
        assert_eq!(reply[36 + 200..36 + 208], SECTORS.to_le_bytes());
        assert_eq!(reply[36 + 212..36 + 214], [0x03, 0x60]);
    }
}

#[test]
fn identify_tells_the_size_of_now() {
    let mut state = state();
    state.geometry.sectors = 2 * SECTORS;
    let reply = run(&mut state, &ata(0xEC, 1, 0, 0)).reply();
    assert_eq!(reply[36 + 200..36 + 208], (2 * SECTORS).to_le_bytes());
}

#[test]
fn commands_without_data() {
    for (opcode, feature, expected) in [
        (0xE5, 0x00, GOOD),
        (0xEF, 0x02, GOOD),
        (0xEF, 0x82, GOOD),
        (0xEF, 0x03, ABORT),
        (0xEF, 0x55, ABORT),
        (0xB0, 0xD0, ABORT),
        (0xA1, 0x00, ABORT),
        (0x06, 0x01, ABORT),
        (0x00, 0x00, ABORT),
        (0x21, 0x00, ABORT),
        (0xFF, 0x00, ABORT),
    ] {
        let mut asked = ata(opcode, 1, 0, 0);
        asked[25] = feature;
        let reply = run(&mut state(), &asked).reply();
        assert_eq!((reply[27], reply[25]), expected, "{opcode:#x}, feature {feature:#x}");
        assert_eq!(reply[14], 0x18, "the error flag is not set");
        assert_eq!(reply[26], if opcode == 0xE5 { 0xff } else { 0 });
        assert_eq!(reply.len(), 60);
    }
}

#[test]
fn flushes_reach_the_store() {
    assert_eq!(run(&mut state(), &ata(0xE7, 0, 0, 0)), Seen::Flush);
    assert_eq!(run(&mut state(), &ata(0xEA, 0, 0, 0)), Seen::Flush);
}

#[test]
fn volatile_export_keeps_its_cache_and_says_so() {
    let mut state = with_settings(|settings| settings.durability = Durability::Volatile);
    for (feature, expected) in [(0x02, GOOD), (0x82, ABORT), (0x03, ABORT)] {
        let mut asked = ata(0xEF, 0, 0, 0);
        asked[25] = feature;
        assert_eq!(run(&mut state, &asked).status(), expected, "{feature:#x}");
    }
    let cache = |state: &mut State| {
        let words = run(state, &ata(0xEC, 1, 0, 0)).reply().split_off(36);
        [82, 85].map(|word| words[word * 2] & 1 << 5 != 0)
    };
    assert_eq!(cache(&mut state), [true, true]);
    assert_eq!(cache(&mut super::super::state()), [false, false], "a durable one has none");
}

/// All 256 opcodes: those not in the tables above are aborted.
#[test]
fn every_other_opcode_is_aborted() {
    let known = [0x06, 0xE5, 0xE7, 0xEA, 0xEC, 0xEF];
    for opcode in 0..=255 {
        if READS.contains(&opcode) || WRITES.contains(&opcode) || known.contains(&opcode) {
            continue;
        }
        assert_eq!(run(&mut state(), &ata(opcode, 1, 0, 0)).status(), ABORT, "{opcode:#x}");
    }
}
