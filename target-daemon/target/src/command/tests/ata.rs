//! ATA commands that move sectors, and rules for all ATA commands.

mod trim;
mod without_data;

use super::*;

const ABORT: (u8, u8) = (0x41, 0x04);
const NOT_FOUND: (u8, u8) = (0x41, 0x10);

const READS: [u8; 4] = [0x20, 0x24, 0xC8, 0x25];
const WRITES: [u8; 4] = [0x30, 0x34, 0xCA, 0x35];

/// An ATA frame with opcode, count, LBA registers and this number of data bytes.
fn ata(opcode: u8, count: u8, lba: u64, data_len: usize) -> Vec<u8> {
    let mut argument = vec![0x40, 0, count, opcode];
    argument.extend(&lba.to_le_bytes()[..6]);
    argument.extend([0, 0]);
    argument.resize(12 + data_len, 0xDD);
    frame(0, &argument)
}

fn sectors(count: u8) -> usize {
    usize::from(count) * 512
}

#[test]
fn reads_and_writes_by_every_opcode() {
    for opcode in READS {
        assert_eq!(run(&mut state(), &ata(opcode, 8, 5, 0)), Seen::Read(5, 8), "{opcode:#x}");
    }
    for opcode in WRITES {
        let asked = ata(opcode, 8, 5, sectors(8));
        assert_eq!(run(&mut state(), &asked), Seen::Write(5, 8), "{opcode:#x}");
    }
}

#[test]
fn payload_begins_behind_the_tags() {
    let mut asked = ata(0x34, 1, 5, 512);
    asked.splice(12..12, [0x81, 0x00, 0xE0, 0x00]);
    assert_eq!(run(&mut state(), &asked), Seen::Write(5, 1));
    asked.pop();
    let reply = run(&mut state(), &asked).reply();
    assert_eq!(reply[18..20], [0x1C, 2], "a byte is missing");
}

/// The last sectors, the first beyond the end, and every sum that could wrap.
#[test]
fn range_is_exact_and_does_not_wrap() {
    let top = (1 << 48) - 1;
    for (lba, count, exists) in [
        (0, 1, true),
        (SECTORS - 1, 1, true),
        (SECTORS - 8, 8, true),
        (SECTORS - 7, 8, false),
        (SECTORS - 1, 2, false),
        (SECTORS, 1, false),
        (1 << 32, 1, false),
        (top, 1, false),
        (top, 8, false),
        (top - 7, 8, false),
    ] {
        for opcode in [0x24, 0x25] {
            let seen = run(&mut state(), &ata(opcode, count, lba, 0));
            if exists {
                assert_eq!(seen, Seen::Read(lba, count));
            } else {
                assert_eq!(seen.status(), NOT_FOUND, "read {lba}+{count}");
            }
        }
        for opcode in [0x34, 0x35] {
            let seen = run(&mut state(), &ata(opcode, count, lba, sectors(count)));
            if exists {
                assert_eq!(seen, Seen::Write(lba, count));
            } else {
                assert_eq!(seen.status(), NOT_FOUND, "write {lba}+{count}");
            }
        }
    }
}

#[test]
fn range_holds_for_a_store_of_any_size() {
    let top = (1 << 48) - 1;
    for (size, lba, expected) in [
        (0, 0, None),
        (u64::MAX, top, Some(top)),
        (1 << 48, top, Some(top)),
        (top, top, None),
        (top, top - 1, Some(top - 1)),
    ] {
        let mut state = state();
        state.geometry.sectors = size;
        let seen = run(&mut state, &ata(0x24, 1, lba, 0));
        match expected {
            Some(sector) => assert_eq!(seen, Seen::Read(sector, 1)),
            None => assert_eq!(seen.status(), NOT_FOUND, "{lba} of {size}"),
        }
    }
}

#[test]
fn lba28_has_28_bits_whatever_the_flags_say() {
    for opcode in [0x20, 0xC8] {
        for flags in [0x00, 0x40, 0x10] {
            let mut asked = ata(opcode, 1, 0xFFFF_E000_0005, 0);
            asked[24] = flags;
            assert_eq!(run(&mut state(), &asked), Seen::Read(5, 1), "{opcode:#x} {flags:#x}");
        }
    }
    for opcode in [0x30, 0xCA] {
        let asked = ata(opcode, 1, 0xE000_0005, 512);
        assert_eq!(run(&mut state(), &asked), Seen::Write(5, 1));
    }
    let asked = ata(0x24, 1, 0xE000_0005, 0);
    assert_eq!(run(&mut state(), &asked).status(), NOT_FOUND, "48 bits are 48 bits");
}

#[test]
fn count_0_moves_nothing_and_succeeds() {
    for opcode in READS.into_iter().chain(WRITES) {
        for lba in [0, SECTORS, (1 << 48) - 1] {
            let reply = run(&mut state(), &ata(opcode, 0, lba, 0)).reply();
            assert_eq!((reply[27], reply[25], reply.len()), (0x40, 0, 60), "{opcode:#x} {lba}");
        }
    }
}

#[test]
fn what_fits_is_served_whatever_is_advertised() {
    assert_eq!((ADVERT.sectors_per_frame, LIMIT.now, LIMIT.ever), (8, 9, 24));
    let too_long = Seen::Ignored(DropReason::ReplyTooLong);
    for opcode in READS {
        assert_eq!(run(&mut state(), &ata(opcode, 9, 5, 0)), Seen::Read(5, 9));
        // A larger MTU would help, so the host has to wait for it.
        assert_eq!(run(&mut state(), &ata(opcode, 10, 5, 0)), too_long);
        assert_eq!(run(&mut state(), &ata(opcode, 24, 5, sectors(9))), too_long);
        assert_eq!(run(&mut state(), &ata(opcode, 24, SECTORS, 0)).status(), NOT_FOUND, "an error fits");
        // No MTU would help.
        assert_eq!(run(&mut state(), &ata(opcode, 25, 5, 0)).status(), ABORT);
        assert_eq!(run(&mut state(), &ata(opcode, 255, 5, 0)).status(), ABORT);
    }
    for opcode in WRITES {
        for count in [9, 17, 255] {
            assert_eq!(run(&mut state(), &ata(opcode, count, 5, sectors(count))), Seen::Write(5, count));
            assert_eq!(run(&mut state(), &ata(opcode, count, 5, sectors(count) - 1)).refusal(), 2);
        }
    }
}

/// The answer to IDENTIFY is one sector long.
#[test]
fn nothing_with_data_is_answered_below_the_smallest_mtu() {
    let run = |frame: &[u8]| {
        let header = Header::parse(frame).unwrap();
        let request = Request::parse(&header, frame, frame.len()).unwrap();
        let mut state = state();
        let action =
            execute(&request, &mut state, ADVERT, ReplyLimit { now: 0, ever: 24 }, Ingress::default());
        (action == Action::Ignore(DropReason::ReplyTooLong), matches!(action, Action::Reply(_)))
    };
    assert_eq!(run(&ata(0x24, 1, 5, 0)), (true, false));
    assert_eq!(run(&ata(0xEC, 1, 0, 0)), (true, false));
    assert_eq!(run(&ata(0xE5, 0, 0, 0)), (false, true));
}

#[test]
fn short_payload_is_refused_as_a_whole() {
    for opcode in WRITES {
        for (present, whole) in [(0, false), (512, false), (1023, false), (1024, true), (1500, true)] {
            let seen = run(&mut state(), &ata(opcode, 2, 5, present));
            if whole {
                assert_eq!(seen, Seen::Write(5, 2), "{present}");
            } else {
                assert_eq!(seen.refusal(), 2, "{present}");
            }
        }
    }
}

#[test]
fn probe_read_may_carry_a_payload() {
    let mut asked = ata(0x24, 8, 0, sectors(8));
    assert_eq!(run(&mut state(), &asked), Seen::Read(0, 8));
    asked[24] |= 0x01;
    assert_eq!(run(&mut state(), &asked), Seen::Read(0, 8), "nor does the write flag matter");
}

#[test]
fn read_only_export_fails_writes_and_nothing_else() {
    let mut state = with_settings(|settings| settings.read_only = true);
    for opcode in WRITES {
        assert_eq!(run(&mut state, &ata(opcode, 1, 5, 512)).status(), ABORT, "{opcode:#x}");
    }
    assert_eq!(run(&mut state, &ata(0x24, 1, 5, 0)), Seen::Read(5, 1));
    assert_eq!(run(&mut state, &ata(0xE7, 0, 0, 0)), Seen::Flush);
}

/// Any shelf, any slot or a broadcast destination makes a frame a broadcast.
#[test]
fn broadcast_writes_are_ignored_and_reads_are_not() {
    for (at, bytes) in [(16, &[0xff, 0xff][..]), (18, &[0xff]), (0, &[0xff; 6])] {
        let spread = |mut frame: Vec<u8>| {
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            frame
        };
        for opcode in WRITES {
            let ignored = Seen::Ignored(DropReason::BroadcastWrite);
            assert_eq!(run(&mut state(), &spread(ata(opcode, 1, 5, 512))), ignored);
            let mut reserved = state();
            reserved.set_reservation([OTHER].into_iter()).unwrap();
            assert_eq!(run(&mut reserved, &spread(ata(opcode, 1, 5, 512))), ignored);
            let mut read_only = with_settings(|settings| settings.read_only = true);
            assert_eq!(run(&mut read_only, &spread(ata(opcode, 0, 5, 0))), ignored);
        }
        assert_eq!(run(&mut state(), &spread(ata(0x24, 1, 5, 0))), Seen::Read(5, 1));
        assert_eq!(run(&mut state(), &spread(ata(0xEC, 1, 0, 0))).reply().len(), 548);
    }
}

#[test]
fn reservation_of_others_blocks_all_but_identify() {
    let mut state = state();
    state.set_reservation([OTHER].into_iter()).unwrap();
    for opcode in 0..=255 {
        let seen = run(&mut state, &ata(opcode, 1, 5, 512));
        if opcode == 0xEC {
            assert_eq!(seen.reply().len(), 548);
        } else {
            assert_eq!(seen.refusal(), 6, "{opcode:#x}");
        }
    }
    let asked = from(OTHER, ata(0x34, 1, 5, 512));
    assert_eq!(run(&mut state, &asked), Seen::Write(5, 1), "the holder may");
}

#[test]
fn reply_echoes_the_lba_and_nothing_of_the_feature_register() {
    let mut asked = ata(0x24, 1, 0xA1B2_C3D4_E5F6, 512);
    asked[24..26].copy_from_slice(&[0xff, 0xEE]);
    asked[34..36].copy_from_slice(&[0xEE, 0xEE]);
    let reply = run(&mut state(), &asked).reply();
    let expected = [0x53, 0x10, 0, 0x41, 0xF6, 0xE5, 0xD4, 0xC3, 0xB2, 0xA1, 0, 0];
    assert_eq!(reply[24..36], expected);
    assert_eq!(reply[36..], [0; 24], "no data on an error");
}
