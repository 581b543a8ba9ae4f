"""wg-standin PORT FIFO: holds WireGuard's UDP port and tries paths over it.

Answers "ping N" by "pong N". A line "ADDRESS PORT COUNT" in the FIFO sends that many pings to
there, one after the other, and prints "answered M of COUNT". A handshake initiation is only named.
"""

import os
import select
import socket
import sys


def main():
    port, fifo = int(sys.argv[1]), sys.argv[2]
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    os.mkfifo(fifo)
    commands = os.fdopen(os.open(fifo, os.O_RDWR), "r")
    print("ready", flush=True)
    target, left, answered, count = None, 0, 0, 0
    while True:
        readable, _, _ = select.select([sock, commands], [], [], 1 if target else None)
        if commands in readable:
            address, number, wanted = commands.readline().split()
            address = address if ":" in address else f"::ffff:{address}"
            target, count, left, answered = (address, int(number)), int(wanted), int(wanted), 0
        elif sock in readable:
            data, sender = sock.recvfrom(2048)
            if data.startswith(b"ping "):
                sock.sendto(b"pong " + data[5:], sender)
                continue
            if not data.startswith(b"pong ") or not target or sender[:2] != target:
                if data[:4] == b"\1\0\0\0":
                    print(f"initiation of {len(data)} bytes from {sender[0].removeprefix('::ffff:')} port {sender[1]}",
                          flush=True)
                continue
            answered += 1
        if target and left:
            left -= 1
            sock.sendto(b"ping %d" % left, target)
        elif target:
            print(f"answered {answered} of {count}", flush=True)
            target = None


if __name__ == "__main__":
    main()
