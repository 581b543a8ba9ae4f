#!/usr/bin/env python3
"""UDP programs for case-lab.py.

mirror.py serve        answers each datagram on port 9000 with the address it came from; a second
                       answer leaves from port 9001, where nobody has sent anything
mirror.py ask S1 S2    from port 51820 to both servers; prints JSON: {"seen": [address, ...],
                       "strangers": number of answers from a port we did not ask}
"""

import json
import socket
import sys


def serve():
    main, other = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    main.bind(("0.0.0.0", 9000))
    other.bind(("0.0.0.0", 9001))
    print("listening", flush=True)
    while True:
        _, source = main.recvfrom(100)
        other.sendto(b"stranger", source)  # first, so that it cannot be late
        main.sendto(f"{source[0]}:{source[1]}".encode(), source)


def ask(servers):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 51820))
    sock.settimeout(2)
    seen, strangers = [], 0
    for server in servers:
        sock.sendto(b"who am I", (server, 9000))
        while True:
            data, source = sock.recvfrom(100)
            if source == (server, 9000):
                seen.append(data.decode())
                break
            strangers += 1
    print(json.dumps({"seen": seen, "strangers": strangers}))


if sys.argv[1] == "serve":
    serve()
else:
    ask(sys.argv[2:])
