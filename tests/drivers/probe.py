#!/usr/bin/env python3
"""Sends short and tagged queries, and prints what comes back: probe.py INTERFACE MAC KIND...

KIND is one of QUERIES, or "flood": many queries, whose answers are not read. Prints "short LENGTH", the length of the answer to a query that is not padded, and for
tagged queries "vlan ANSWER", "priority ANSWER" (VLAN 0) and "double ANSWER" (two tags); the
same of the second export, in VLAN 5, for "own", "bare" (no tag), "other" (VLAN 7) and "inner" (5 in 7).
ANSWER is "tagged" (as the query), "untagged" or otherwise wrong ("tags ..."), or "none".
A query without tags follows each: its answer shows that the path works. The other may
still come a little later, by another queue.
"""
import socket
import struct
import sys
import time

SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING, VLAN_VALID = 263, 8, 4, 0x10
QUERIES = {
    "short": (1, []),
    "vlan": (1, [(0x8100, 5)]),
    "priority": (1, [(0x8100, 0x6000)]),
    "double": (1, [(0x88A8, 7), (0x8100, 5)]),
    "own": (2, [(0x8100, 5)]),
    "bare": (2, []),
    "other": (2, [(0x8100, 7)]),
    "inner": (2, [(0x8100, 7), (0x8100, 5)]),
}
SECONDS, TRIES = 1, 40

name, mac = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
wire.bind((name, 3))
wire.settimeout(SECONDS)
own = wire.getsockname()[4]


def send(tags, number, length, slot=1):
    head = b"".join(struct.pack(">HH", *tag) for tag in tags)
    query = struct.pack(">HBBHBBIII", 0x88A2, 0x10, 0, 0, slot, 1, number, 0, 0)
    wire.send((mac + own + head + query).ljust(length, b"\0"))


def receive():
    """The next answer: its number, its tags, its length."""
    while True:
        frame, notes, _, address = wire.recvmsg(10000, 256)
        if address[2] == PACKET_OUTGOING:
            continue
        tags, at = [], 12
        # The kernel has taken the outer tag out of the frame.
        for _, kind, data in notes:
            status, _, _, _, _, tag, protocol = struct.unpack("IIIHHHH", data[:20])
            if kind == PACKET_AUXDATA and status & VLAN_VALID:
                tags.append((protocol, tag))
        while frame[at:at + 2] in (b"\x81\x00", b"\x88\xa8"):
            tags.append(struct.unpack(">HH", frame[at:at + 4]))
            at += 4
        if frame[at:at + 2] == b"\x88\xa2" and frame[at + 2] & 8:
            return struct.unpack(">I", frame[at + 8:at + 12])[0], tags, len(frame)


def answer_to(kind, slot, tags, number):
    """What comes back; None if a query without tags is not answered either."""
    send(tags, number, 0 if kind == "short" else 64, slot)
    send([], number + 1, 64)
    answer, alive = "none", False
    try:
        while answer == "none" or not alive:
            got = receive()
            alive = alive or got[0] == number + 1
            if got[0] == number:
                right = got[2] if kind == "short" else "tagged"
                answer = right if got[1] == tags else f"tags {got[1]}" if got[1] else "untagged"
    except TimeoutError:
        pass
    return answer if alive else None


def flood():
    """More queries than an rx ring holds, no faster than an emulated NIC takes them."""
    for number in range(4000):
        send([], number, 64)
        if number % 50 == 49:
            time.sleep(0.005)


number = 0
for kind in sys.argv[3:]:
    if kind == "flood":
        flood()
        continue
    # After a change of its settings the link may be down for some seconds.
    for _ in range(TRIES):
        number += 2
        if (answer := answer_to(kind, *QUERIES[kind], number)) is not None:
            break
    print(kind, answer or sys.exit(f"{kind}: not even a query without tags is answered"))
