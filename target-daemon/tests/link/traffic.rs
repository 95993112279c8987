//! An operator's session on the interface must not be affected by the program.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use xblade_kit::{OURS, PEER, PacketSocket, Pair, Space, apply, needs_root};

use xblade::link::{Counter, Mode, Program};

use crate::ours::{attach, facts};

const BYTES: usize = 200_000;
const LIMIT: Duration = Duration::from_secs(5);

#[apply(needs_root!)]
fn traffic_in_vlans_survives() {
    let vlan = format!("ip link add link {OURS} name {OURS}.9 type vlan id 9 && echo yes || echo no");
    if Pair::new().ours.sh(&vlan).trim() == "no" {
        // Not an error of the setup: raw_frames_… covers tags on every kernel.
        let _ = writeln!(
            std::io::stderr(),
            "NOT CHECKED: VLAN interfaces, for this kernel has none; raw tagged frames are checked"
        );
        return;
    }
    for offload in ["on", "off"] {
        each_mtu_and_mode(|pair, program| {
            for (space, name, host) in ends(pair) {
                space.sh(&format!(
                    "ethtool -K {name} txvlan {offload} tx-vlan-stag-hw-insert {offload} &&
                     ip link add link {name} name {name}.5 type vlan proto 802.1ad id 5 &&
                     ip link add link {name}.5 name {name}.7 type vlan id 7 &&
                     ip link set {name}.5 up && ip link set {name}.7 up &&
                     ip addr add 10.77.5.{host}/24 dev {name}.5 &&
                     ip addr add 10.77.7.{host}/24 dev {name}.7"
                ));
            }
            exchange(pair, 5);
            exchange(pair, 7);
            assert_eq!(program.counters().unwrap(), [0; Counter::COUNT]);
        });
    }
}

#[apply(needs_root!)]
fn raw_frames_reach_the_stack_byte_for_byte() {
    let tags: [&[u8]; 4] = [
        &[],
        &[0x81, 0, 0, 5],
        &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 7],
        &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 7, 0x81, 0, 0, 9],
    ];
    each_mtu_and_mode(|pair, program| {
        let (mac, mtu) = pair.ours.run(|| (facts().mac, facts().mtu as usize));
        let ours = PacketSocket::within(&pair.ours, OURS).unwrap();
        let peer = PacketSocket::within(&pair.peer, PEER).unwrap();
        for tag in tags {
            for (kind, len) in [(0x0800_u16, 60), (0x0806, 60), (0x86dd, 60), (0x0800, mtu)] {
                let mut frame = [mac, [2, 0, 0, 0, 0, 0xbb]].concat();
                frame.extend(tag);
                frame.extend(kind.to_be_bytes());
                frame.extend((frame.len()..len).map(|byte| (byte % 251) as u8));
                peer.send(&frame).unwrap();
                // Other frames come from the stacks.
                let is_from_peer = |heard: &[u8]| heard.get(6..12) == Some(&frame[6..12]);
                let heard = ours.receive_if(LIMIT, is_from_peer).unwrap();
                assert_eq!(heard, Some(frame), "{kind:x} behind {tag:x?}");
            }
        }
        assert_eq!(program.counters().unwrap(), [0; Counter::COUNT]);
    });
}

fn each_mtu_and_mode(check: impl Fn(&Pair, &Program)) {
    for mtu in [1500, 9000] {
        for mode in [Mode::Native, Mode::Generic] {
            let pair = Pair::new();
            pair.mtu(mtu);
            let program = pair.ours.run(move || attach(&facts(), mode, &[]).unwrap());
            check(&pair, &program);
        }
    }
}

fn ends(pair: &Pair) -> [(&Space, &'static str, u8); 2] {
    [(&pair.ours, OURS, 1), (&pair.peer, PEER, 2)]
}

/// A TCP stream in both directions, then a UDP request and its reply.
fn exchange(pair: &Pair, net: u8) {
    let (listener, udp) = pair.ours.run(move || {
        let ours = format!("10.77.{net}.1:0");
        (TcpListener::bind(&ours).unwrap(), UdpSocket::bind(&ours).unwrap())
    });
    let (tcp_to, udp_to) = (listener.local_addr().unwrap(), udp.local_addr().unwrap());
    let echo = pair.ours.start(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut bytes = vec![0; BYTES];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        udp.set_read_timeout(Some(LIMIT)).unwrap();
        let (len, from) = udp.recv_from(&mut bytes).unwrap();
        udp.send_to(&bytes[..len], from).unwrap();
    });
    pair.peer.run(move || {
        let sent: Vec<u8> = (0..BYTES).map(|byte| (byte % 251) as u8).collect();
        let mut stream = TcpStream::connect_timeout(&tcp_to, LIMIT).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&sent).unwrap();
        let mut back = vec![0; BYTES];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, sent);
        let socket = UdpSocket::bind(format!("10.77.{net}.2:0")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.send_to(&sent[..1200], udp_to).unwrap();
        let len = socket.recv(&mut back).unwrap();
        assert_eq!(back[..len], sent[..1200]);
    });
    echo.recv().unwrap();
}
