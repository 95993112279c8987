//! Reservations.

use super::{WRITTEN, rules};
use crate::frame::{ATA, Ask, RESERVE, ata, ata_done, mac, reserve};
use crate::{Bench, HOST, MAIN, Mac, OTHER_HOST, READ_ONLY, Stand};

rules! {
    set_needs_a_free_list_or_a_place_on_it ["P-RSV-1"]
    list_in_force_may_be_set_again_by_anybody ["P-RSV-2"]
    everybody_may_read_the_list ["P-RSV-3"]
    list_has_240_entries ["P-RSV-4"]
    malformed_lists_are_bad_arguments ["P-RSV-5"]
    reservation_blocks_all_but_identify ["P-RSV-6"]
}

const READ: u8 = 0;
const SET: u8 = 1;
const FORCE_SET: u8 = 2;

/// Demands success, and this list.
#[track_caller]
fn done(bench: &mut Bench<'_>, src: Mac, code: u8, macs: &[Mac], list: &[Mac]) {
    let ask = bench.ask(MAIN, RESERVE, reserve(code, macs.len() as u8, macs)).from(src);
    let expected = ask.reply(MAIN, &reserve(code, list.len() as u8, list));
    bench.expect(&ask, expected);
}

#[track_caller]
fn refused(bench: &mut Bench<'_>, src: Mac, argument: Vec<u8>, error: u8) {
    let ask = bench.ask(MAIN, RESERVE, argument).from(src);
    let expected = ask.refusal(MAIN, error);
    bench.expect(&ask, expected);
}

fn set_needs_a_free_list_or_a_place_on_it(bench: &mut Bench<'_>) {
    done(bench, HOST, READ, &[], &[]);
    done(bench, HOST, SET, &[HOST], &[HOST]);
    refused(bench, OTHER_HOST, reserve(SET, 1, &[OTHER_HOST]), 6);
    refused(bench, OTHER_HOST, reserve(SET, 0, &[]), 6);
    done(bench, HOST, SET, &[HOST, OTHER_HOST], &[HOST, OTHER_HOST]);
    done(bench, OTHER_HOST, SET, &[OTHER_HOST], &[OTHER_HOST]);
    refused(bench, HOST, reserve(SET, 1, &[HOST]), 6);
    done(bench, HOST, FORCE_SET, &[HOST], &[HOST]);
    done(bench, HOST, SET, &[], &[]);
    done(bench, OTHER_HOST, SET, &[OTHER_HOST], &[OTHER_HOST]);
    done(bench, HOST, FORCE_SET, &[], &[]);
}

/// It is a retransmission, by a host that has reserved for others.
fn list_in_force_may_be_set_again_by_anybody(bench: &mut Bench<'_>) {
    done(bench, HOST, SET, &[OTHER_HOST, mac(1)], &[OTHER_HOST, mac(1)]);
    done(bench, HOST, SET, &[OTHER_HOST, mac(1)], &[OTHER_HOST, mac(1)]);
    refused(bench, HOST, reserve(SET, 1, &[OTHER_HOST]), 6);
    done(bench, HOST, FORCE_SET, &[], &[]);
}

fn everybody_may_read_the_list(bench: &mut Bench<'_>) {
    done(bench, HOST, SET, &[OTHER_HOST], &[OTHER_HOST]);
    for src in [HOST, OTHER_HOST, mac(3)] {
        done(bench, src, READ, &[mac(9)], &[OTHER_HOST]);
    }
    done(bench, HOST, FORCE_SET, &[], &[]);
}

fn list_has_240_entries(bench: &mut Bench<'_>) {
    let macs: Vec<_> = (0..=240).map(mac).collect();
    for code in [SET, FORCE_SET] {
        refused(bench, HOST, reserve(code, 241, &macs), 2);
        done(bench, HOST, READ, &[], &[]);
    }
    done(bench, HOST, SET, &macs[..240], &macs[..240]);
    done(bench, HOST, FORCE_SET, &[], &[]);
}

fn malformed_lists_are_bad_arguments(bench: &mut Bench<'_>) {
    for code in [SET, FORCE_SET] {
        let mut cut = reserve(code, 1, &[HOST]);
        cut.pop();
        for argument in [cut, reserve(code, 2, &[HOST]), reserve(code, 255, &[]), reserve(code, 1, &[])] {
            refused(bench, HOST, argument, 2);
        }
    }
    for code in [3, 4, 255] {
        refused(bench, HOST, reserve(code, 1, &[HOST]), 2);
    }
    done(bench, HOST, READ, &[], &[]);
}

fn reservation_blocks_all_but_identify(bench: &mut Bench<'_>) {
    done(bench, HOST, SET, &[OTHER_HOST], &[OTHER_HOST]);
    for opcode in [0x20, 0x24, 0x25, 0xC8, 0x30, 0x34, 0xE7, 0xEA, 0xE5, 0xEF, 0xB0, 0x00] {
        let ask = bench.ask(MAIN, ATA, ata(opcode, WRITTEN, 1, &[7; 512]));
        let expected = ask.refusal(MAIN, 6);
        bench.expect(&ask, expected);
    }
    let ask = bench.ask(MAIN, ATA, ata(0xEC, 0, 1, &[]));
    let replies = bench.exchange(&ask.bytes());
    assert_eq!(replies.len(), 1, "IDENTIFY is never blocked");
    assert_eq!(replies[0].len(), ask.link_len() + 22 + 512);
    read_by(bench, MAIN, OTHER_HOST);
    // The others are not reserved.
    read_by(bench, READ_ONLY, HOST);
    done(bench, HOST, FORCE_SET, &[], &[]);
    read_by(bench, MAIN, HOST);
}

#[track_caller]
fn read_by(bench: &mut Bench<'_>, from: crate::Address, src: Mac) {
    let ask: Ask = bench.ask(from, ATA, ata(0x20, 4, 1, &[])).from(src);
    let expected = ask.reply(from, &ata_done(&ask.argument, 0x40, 0, &Stand::original(from, 4, 1)));
    bench.expect(&ask, expected);
}
