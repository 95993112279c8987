//! Shelf and slot.

use xblade::wire::DropReason;

use super::{WRITTEN, rules};
use crate::frame::{ATA, Ask, QUERY, SHELF_ANY, SLOT_ANY, ata, ata_done, query, query_done};
use crate::{Address, Bench, LARGE, MAIN, READ_ONLY, SENTINEL, Stand, THIN, pattern};

rules! {
    other_addresses_are_not_answered ["P-ADR-1"]
    broadcasts_are_answered_by_each_export_once ["P-ADR-1" "P-ADR-2" "P-RPL-4"]
    reads_at_a_broadcast_address_are_answered ["P-ADR-2" "P-ATA-10"]
    identify_at_a_broadcast_address_is_answered ["P-ADR-2" "P-ATA-10"]
    writes_at_a_broadcast_address_are_ignored ["P-ATA-10"]
}

/// Addresses that are not exact, and whom they reach.
const BROADCASTS: [(Address, &[Address]); 6] = [
    ((SHELF_ANY, SLOT_ANY), &[MAIN, READ_ONLY, THIN, LARGE, SENTINEL]),
    ((7, SLOT_ANY), &[MAIN, READ_ONLY, THIN]),
    ((300, SLOT_ANY), &[LARGE]),
    ((SHELF_ANY, 3), &[MAIN]),
    ((SHELF_ANY, 0), &[LARGE]),
    ((SHELF_ANY, 254), &[SENTINEL]),
];

fn other_addresses_are_not_answered(bench: &mut Bench<'_>) {
    for to in
        [(7, 5), (8, 3), (0, 0), (3, 7), (0x0307, 0), (300, 1), (SHELF_ANY, 7), (8, SLOT_ANY), (65534, 0)]
    {
        for (command, argument) in [(QUERY, query(0, &[])), (ATA, ata(0xEC, 0, 1, &[])), (0xF0, Vec::new())] {
            let ask = bench.ask(to, command, argument);
            bench.silence(&ask.bytes(), &[DropReason::Address]);
            bench.silence(&ask.broadcast().bytes(), &[DropReason::Address]);
        }
    }
}

fn broadcasts_are_answered_by_each_export_once(bench: &mut Bench<'_>) {
    for (to, reached) in BROADCASTS {
        let ask = bench.ask(to, QUERY, query(0, &[]));
        for ask in [ask.clone(), ask.broadcast()] {
            let sectors = bench.sectors();
            let reply = |from: &Address| ask.reply(*from, &query_done(64, sectors, 0, &[]));
            bench.expect_all(&ask, reached.iter().map(reply).collect());
        }
        // Each has its own mind about what is not a mere question, too.
        let ask = bench.ask(to, 0xF1, [0xEE; 90]).broadcast();
        bench.expect_all(&ask, reached.iter().map(|from| ask.refusal(*from, 1)).collect());
    }
}

fn reads_at_a_broadcast_address_are_answered(bench: &mut Bench<'_>) {
    let count = bench.sectors().min(8);
    for (to, reached) in BROADCASTS {
        let ask = bench.ask(to, ATA, ata(0x24, 0, count, &[])).broadcast();
        let reply = |from: &Address| {
            let data = Stand::original(*from, 0, usize::from(count));
            ask.reply(*from, &ata_done(&ask.argument, 0x40, 0, &data))
        };
        bench.expect_all(&ask, reached.iter().map(reply).collect());
    }
}

fn identify_at_a_broadcast_address_is_answered(bench: &mut Bench<'_>) {
    for (to, reached) in BROADCASTS {
        let ask = bench.ask(to, ATA, ata(0xEC, 0, 1, &[])).broadcast();
        let replies = bench.exchange(&ask.bytes());
        let mut sizes: Vec<_> = replies.iter().map(|reply| size(&ask, reply)).collect();
        sizes.sort_unstable();
        let expected = Stand::exports().into_iter().filter(|(address, _)| reached.contains(address));
        let mut expected: Vec<_> = expected.map(|(_, sectors)| sectors).collect();
        expected.sort_unstable();
        assert_eq!(sizes, expected, "{to:x?}");
    }
}

fn size(ask: &Ask, reply: &[u8]) -> u64 {
    let data = &reply[ask.link_len() + 22..];
    assert_eq!(data.len(), 512);
    u64::from_le_bytes(data[200..208].try_into().unwrap())
}

fn writes_at_a_broadcast_address_are_ignored(bench: &mut Bench<'_>) {
    let before = bench.stand.contents(MAIN, WRITTEN, 2);
    for opcode in [0x30, 0x34, 0xCA, 0x35] {
        let write = ata(opcode, WRITTEN, 1, &pattern(0x77, 0, 1));
        for (to, reached) in BROADCASTS {
            let ask = bench.ask(to, ATA, write.clone());
            bench.silence(&ask.bytes(), &vec![DropReason::BroadcastWrite; reached.len()]);
        }
        let ask = bench.ask(MAIN, ATA, write).broadcast();
        bench.silence(&ask.bytes(), &[DropReason::BroadcastWrite]);
        // Before anything else: also one that is too short, too long, too far.
        for odd in
            [ata(opcode, WRITTEN, 2, &[]), ata(opcode, WRITTEN, 255, &[]), ata(opcode, 1 << 27, 1, &[0; 512])]
        {
            let ask = bench.ask((7, SLOT_ANY), ATA, odd);
            bench.silence(&ask.bytes(), &[DropReason::BroadcastWrite; 3]);
        }
    }
    assert_eq!(bench.stand.contents(MAIN, WRITTEN, 2), before);
    assert_eq!(bench.stand.contents(SENTINEL, 0, 8), Stand::original(SENTINEL, 0, 8));
}
