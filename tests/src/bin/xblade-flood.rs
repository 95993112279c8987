//! Floods a target, as one host or many, to see what that leaves to others.
//!
//! ```text
//! xblade-flood INTERFACE KIND --target MAC --export SHELF.SLOT [--rate N] [--seconds N]
//! ```
//!
//! `KIND` is what is sent: `other` (frames that are not AoE), `reads`, `random` (reads from
//! random addresses), `writes` (of one sector), `queries`, `sets` (of the config string),
//! `broadcasts` (queries to all exports), `identify-all`, `set-all`. Prints the number of
//! frames sent.

#![allow(clippy::expect_used, clippy::panic)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use xblade_kit::PacketSocket;
use xblade_tests::flood::{Flood, Kind};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(interface), Some(kind)) =
        (words.next(), words.next().and_then(|word| word.parse::<Kind>().ok()))
    else {
        eprintln!(
            "usage: xblade-flood INTERFACE KIND --target MAC --export SHELF.SLOT [--rate N] [--seconds N]"
        );
        return ExitCode::from(2);
    };
    let mut flood = Flood::new(kind);
    let (mut rate, mut seconds) = (f64::INFINITY, 5.0);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--target" => flood.target = value.parse().expect("--target: a MAC address"),
            "--export" => {
                let (shelf, slot) = value.split_once('.').expect("--export: SHELF.SLOT");
                flood.export.shelf = shelf.parse().expect("--export: a shelf");
                flood.export.slot = slot.parse().expect("--export: a slot");
            }
            "--rate" => rate = value.parse().expect("--rate: a number"),
            "--seconds" => seconds = value.parse().expect("--seconds: a number"),
            _ => panic!("{word}: there are --target, --export, --rate and --seconds"),
        }
    }
    let socket = PacketSocket::open(&interface).expect("a packet socket");
    socket.bypass_queueing().expect("an option of the socket");
    let began = Instant::now();
    let sent = flood.send(&socket, rate, || began.elapsed() < Duration::from_secs_f64(seconds));
    println!("{sent} frames, {:.0} a second", sent as f64 / began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
