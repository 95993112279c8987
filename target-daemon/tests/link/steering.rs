//! Frames on the wire: where they go, and what is counted.

use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;
use xblade_kit::{OURS, PEER, Pair, apply, needs_root, sh, until};

use xblade::link::{Counter, Facts, Mode, PacketSocket, Program};
use xblade::wire::ether::Mac;

use crate::ours::{attach, facts, until_detached};

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];
const SOON: Duration = Duration::from_secs(2);

fn pair() -> Pair {
    let pair = Pair::with("numrxqueues 2 numtxqueues 2");
    pair.ours.set_mac(OURS, Mac(OUR_MAC));
    pair
}

/// A Query Config request of 60 bytes whose tag is `number`.
fn query(to: [u8; 6], number: u8) -> Vec<u8> {
    let mut frame = [to, PEER_MAC].concat();
    frame.extend([0x88, 0xa2, 0x10, 0, 0, 7, 3, 1, 0, 0, 0, number]);
    frame.resize(60, 0);
    frame
}

fn send(pair: &Pair, frame: &[u8]) {
    xblade_kit::PacketSocket::within(&pair.peer, PEER).unwrap().send(frame).unwrap();
}

fn unbound_socket() -> OwnedFd {
    // SAFETY: no pointers; the result is checked before it is used.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a fresh descriptor that nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Sends one frame and waits until it is counted: exactly once, as `counter`.
fn counted(pair: &Pair, program: Program, to: [u8; 6], counter: Counter) -> Program {
    let before = program.counters().unwrap();
    send(pair, &query(to, 0));
    until(counter.name(), || program.counters().unwrap() != before);
    let mut want = before;
    want[counter as usize] += 1;
    assert_eq!(program.counters().unwrap(), want, "{}", counter.name());
    program
}

#[apply(needs_root!)]
fn every_change_at_run_time_takes_effect() {
    for mode in [Mode::Native, Mode::Generic] {
        let pair = pair();
        let mut program = pair.ours.run(move || attach(&facts(), mode, &[]).unwrap());
        program = counted(&pair, program, OUR_MAC, Counter::NoSocket);

        // veth: the receive queue is that of the sender, which the kernel chooses.
        let socket = unbound_socket();
        program.register(0, None, &socket).unwrap();
        program.register(1, None, &socket).unwrap();
        assert!(program.register(2, None, &socket).is_err(), "there are two queues");
        program = counted(&pair, program, OUR_MAC, Counter::Redirected);
        drop(socket);
        program = counted(&pair, program, OUR_MAC, Counter::NoSocket);

        let new = [2, 0, 0, 0, 0, 0xcc];
        program.set_mac(new).unwrap();
        program = counted(&pair, program, OUR_MAC, Counter::Destination);
        program = counted(&pair, program, new, Counter::NoSocket);
        program.set_mac(OUR_MAC).unwrap();

        let other = [2, 0, 0, 0, 0, 0xdd];
        let rows: [(&[[u8; 6]], Counter); 5] = [
            (&[other], Counter::Acl),
            (&[other, PEER_MAC], Counter::NoSocket),
            (&[PEER_MAC], Counter::NoSocket),
            (&[other], Counter::Acl),
            (&[], Counter::NoSocket),
        ];
        for (list, counter) in rows {
            program.set_acl(list).unwrap();
            program = counted(&pair, program, OUR_MAC, counter);
        }
        drop(program);
        pair.ours.run(until_detached);
    }
}

#[apply(needs_root!)]
fn the_packet_socket_hears_aoe_of_its_interface_only() {
    let pair = pair();
    let index = pair.ours.run(|| facts().index);
    let socket = pair.ours.run(move || PacketSocket::open(index).unwrap());
    let mut buffer = [0; 2048];
    assert_eq!(socket.receive(&mut buffer, Duration::from_millis(5)).unwrap(), None);

    let mut other_type = query(OUR_MAC, 1);
    other_type[12..14].copy_from_slice(&[0x88, 0xb5]);
    send(&pair, &other_type);
    send(&pair, &query(OUR_MAC, 2));
    let len = socket.receive(&mut buffer, SOON).unwrap().unwrap();
    assert_eq!(&buffer[..len], query(OUR_MAC, 2));

    // A socket does not receive what it sends.
    let reply = query(PEER_MAC, 3);
    let heard = pair.peer.run(|| PacketSocket::open(Facts::read(PEER).unwrap().index).unwrap());
    socket.send(&reply).unwrap();
    let len = heard.receive(&mut buffer, SOON).unwrap().unwrap();
    assert_eq!(&buffer[..len], reply);
    assert_eq!(socket.receive(&mut buffer, Duration::ZERO).unwrap(), None);
    assert!(socket.send(&[0; 60_000]).is_err(), "longer than the MTU");
}

#[apply(needs_root!)]
fn the_packet_socket_tells_when_its_interface_goes_down() {
    let pair = pair();
    pair.ours.run(|| {
        let socket = PacketSocket::open(facts().index).unwrap();
        sh(&format!("ip link set {OURS} down"));
        let error = socket.receive(&mut [0; 2048], SOON).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
    });
}
