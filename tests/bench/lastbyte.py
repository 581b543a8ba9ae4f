#!/usr/bin/env python3
"""lastbyte.py PORT: prints when bursts of TCP from that port ended, as "burst BYTES MONOTONIC".

The time is the kernel's at the arrival of the last packet, in this network namespace.
"""

import select
import socket
import struct
import sys
import time

SO_TIMESTAMPNS = 35
ETH_P_ALL = 3
QUIET_SECONDS = 0.01


def payload(frame, port):
    """Octets of TCP payload, if it is IPv4 from that port."""
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
        return 0
    head = (frame[14] & 15) * 4
    tcp = 14 + head
    if struct.unpack("!H", frame[tcp:tcp + 2])[0] != port:
        return 0
    return struct.unpack("!H", frame[16:18])[0] - head - (frame[tcp + 12] >> 4) * 4


def main():
    port = int(sys.argv[1])
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    print("ready", flush=True)
    octets, last = 0, 0.0
    while True:
        if not select.select([sock], [], [], QUIET_SECONDS if octets else None)[0]:
            print(f"burst {octets} {last:.6f}", flush=True)
            octets = 0
            continue
        frame, more, _, sender = sock.recvmsg(128, 64)
        if sender[2] == socket.PACKET_OUTGOING:
            continue
        size = payload(frame, port)
        if size > 0:
            seconds, nanoseconds = struct.unpack("qq", more[0][2])
            octets += size
            last = seconds + nanoseconds / 1e9 + time.monotonic() - time.time()


main()
