#!/usr/bin/env python3
"""burst.py ADDRESS COUNT SECONDS: COUNT echo requests at once, then one line of what came back:
"N answered, first after MS ms, last after MS ms".
"""

import os
import select
import socket
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(ident, number):
    head = struct.pack("!BBHHH", 8, 0, 0, ident, number)
    return struct.pack("!BBHHH", 8, 0, checksum(head), ident, number)


def number_of_reply(packet, source, ident):
    body = packet[(packet[0] & 15) * 4:]
    if source != sys.argv[1] or body[0] != 0 or struct.unpack("!H", body[4:6])[0] != ident:
        return None
    return struct.unpack("!H", body[6:8])[0]


def main():
    count, seconds = int(sys.argv[2]), float(sys.argv[3])
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    ident = os.getpid() & 0xFFFF
    began = time.monotonic()
    for number in range(count):
        sock.sendto(request(ident, number), (sys.argv[1], 0))
    answered = {}
    while len(answered) < count:
        left = began + seconds - time.monotonic()
        if left <= 0 or not select.select([sock], [], [], left)[0]:
            break
        packet, (source, _) = sock.recvfrom(2048)
        number = number_of_reply(packet, source, ident)
        if number is not None:
            answered.setdefault(number, (time.monotonic() - began) * 1000)
    times = sorted(answered.values()) or [-1.0]
    print(f"{len(answered)} answered, first after {times[0]:.1f} ms, last after {times[-1]:.1f} ms")


main()
