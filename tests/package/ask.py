#!/usr/bin/env python3
"""Checks by a query whether a target serves an address: ask.py INTERFACE SHELF SLOT SECONDS

Exit status 0 if one does, 1 if none has answered in time.
"""
import socket
import struct
import sys
import time

name, shelf, slot, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88A2))
wire.bind((name, 0x88A2))
own = wire.getsockname()[4]
query = b"\xff" * 6 + own + struct.pack(">HBBHBBI", 0x88A2, 0x10, 0, shelf, slot, 1, 0x1234567)
end = time.monotonic() + seconds
while time.monotonic() < end:
    wire.send(query.ljust(60, b"\0"))
    wire.settimeout(0.2)
    try:
        frame = wire.recv(9000)
    except TimeoutError:
        continue
    if frame[14] & 8 and frame[16:19] == struct.pack(">HB", shelf, slot):
        sys.exit(0)
sys.exit(1)
