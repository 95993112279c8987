//! An operator's session on the interface must not be affected by serving it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use xblade::wire::ether::Tags;

use crate::daemon::serving;
use crate::image::{Dir, patterns};
use xblade_kit::{Initiator, OURS, PEER, Pair, Space, apply, at, needs_root};

const STREAM_BYTES: usize = 8 << 20;
const LIMIT: Option<Duration> = Some(Duration::from_secs(15));

#[apply(needs_root!)]
fn other_traffic_does_not_notice() {
    for (mode, mtu) in [("native", 1500), ("generic", 1500), ("native", 9000)] {
        let (pair, dir) = (Pair::new(), Dir::new());
        pair.mtu(mtu);
        pair.ours.sh(&format!("ip addr add 10.78.0.1/24 dev {OURS}"));
        pair.peer.sh(&format!("ip addr add 10.78.0.2/24 dev {PEER}"));
        let image = dir.image("a", 1024);
        // A session from before.
        let (mut here, mut there) = connect(&pair.ours, &pair.peer);
        let daemon = serving(&pair.ours, &format!("0.1={image},vlan=any -i {OURS} --xdp-mode {mode}"));
        // The second is in a VLAN, the third has only a priority.
        let tagged = |tci| Tags::NONE.with(0x8100, tci).unwrap();
        let hosts = [Tags::NONE, tagged(0x6005), tagged(0x6000)].map(|tags| {
            let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
            host.tags = tags;
            host
        });
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for (n, mut host) in (0..).zip(hosts) {
                let done = &done;
                scope.spawn(move || {
                    host.set_next_tag(1 + n as u32 * 1_000_000);
                    let mut round = 0;
                    while !done.load(Ordering::Relaxed) || round < 20 {
                        let (lba, data) = (n * 256 + round % 64 * 2, patterns(n * 256, 2, round));
                        host.write(at(0, 1), lba, &data);
                        assert_eq!(host.read(at(0, 1), lba, 2), data);
                        round += 1;
                    }
                });
            }
            let other = scope.spawn(|| {
                stream(&mut here, &mut there);
                let (mut new_here, mut new_there) = connect(&pair.ours, &pair.peer);
                stream(&mut new_there, &mut new_here);
                datagrams(&pair.ours, &pair.peer);
                ping(&pair.peer);
                // After flushing the neighbours: ARP, too.
                pair.peer.sh("ip neigh flush all");
                ping(&pair.peer);
            });
            let outcome = other.join();
            done.store(true, Ordering::Relaxed);
            outcome.unwrap();
        });
        let report = daemon.stop().report();
        report.assert_sound();
        assert_eq!(report.sum("redirected"), report.sum("received"), "only AoE came to the rings");
        assert_eq!(report.sum("not_aoe"), 0);
        // The session outlives the service.
        stream(&mut here, &mut there);
        ping(&pair.peer);
    }
}

/// A TCP connection between the two, as its two ends.
fn connect(ours: &Space, peer: &Space) -> (TcpStream, TcpStream) {
    let listener = ours.run(|| TcpListener::bind("10.78.0.1:0").unwrap());
    let to = listener.local_addr().unwrap();
    let there = peer.run(move || TcpStream::connect_timeout(&to, LIMIT.unwrap()).unwrap());
    let here = listener.accept().unwrap().0;
    for end in [&here, &there] {
        end.set_read_timeout(LIMIT).unwrap();
        end.set_write_timeout(LIMIT).unwrap();
    }
    (here, there)
}

/// A long stream in one direction and a short answer.
fn stream(from: &mut TcpStream, to: &mut TcpStream) {
    let sent: Vec<u8> = (0..STREAM_BYTES).map(|n| (n % 251) as u8).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            from.write_all(&sent).unwrap();
            let mut answer = [0; 2];
            from.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"ok");
        });
        let mut got = vec![0; STREAM_BYTES];
        to.read_exact(&mut got).unwrap();
        assert!(got == sent, "the stream has changed on its way");
        to.write_all(b"ok").unwrap();
    });
}

fn datagrams(ours: &Space, peer: &Space) {
    let here = ours.run(|| UdpSocket::bind("10.78.0.1:0").unwrap());
    let there = peer.run(|| UdpSocket::bind("10.78.0.2:0").unwrap());
    here.set_read_timeout(LIMIT).unwrap();
    // Above the MTU, too: IP fragments.
    for len in [1, 1400, 4000] {
        there.send_to(&vec![len as u8; len], here.local_addr().unwrap()).unwrap();
        let mut got = vec![0; 9000];
        assert_eq!(here.recv(&mut got).unwrap(), len);
        assert!(got[..len].iter().all(|byte| *byte == len as u8));
    }
}

/// One ICMP echo, answered by the stack on our side.
fn ping(peer: &Space) {
    let socket = peer.run(|| {
        // SAFETY: no pointers; the result is checked before it is used.
        let fd =
            unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMP) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: a fresh descriptor that nothing else owns. A UdpSocket is good enough,
        // since its calls do not depend on the protocol.
        UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) })
    });
    socket.set_read_timeout(LIMIT).unwrap();
    // Echo, code 0, checksum, identifier 0x5842, sequence 1.
    let mut echo = [8, 0, 0, 0, 0x58, 0x42, 0, 1];
    let sum: u32 = echo.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    echo[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    socket.send_to(&echo, "10.78.0.1:0").unwrap();
    loop {
        let mut answer = [0; 100];
        let len = socket.recv(&mut answer).expect("an echo reply");
        if answer[20..len].starts_with(&[0, 0]) && answer[24..26] == echo[4..6] {
            return;
        }
    }
}
