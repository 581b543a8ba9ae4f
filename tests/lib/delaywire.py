#!/usr/bin/env python3
"""A cable that takes its time: delaywire.py HERE-NAME PID THERE-NAME MILLISECONDS

Makes a TAP device in this network namespace and one in that of PID and carries every frame from
one to the other MILLISECONDS later. For control traffic in kernels without tc's netem.
"""

import collections
import ctypes
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 2, 0x1000, 0x40000000


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    os.set_blocking(fd, False)
    return fd


def main():
    here_name, pid, there_name, milliseconds = sys.argv[1:]
    here = tap(here_name)
    with open(f"/proc/{pid}/ns/net", encoding="ascii") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
    there = tap(there_name)
    print("ready", flush=True)
    far = {here: there, there: here}
    queue = collections.deque()
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for fd in select.select(list(far), [], [], wait)[0]:
            queue.append((time.monotonic() + float(milliseconds) / 1000, far[fd], os.read(fd, 65536)))
        while queue and queue[0][0] <= time.monotonic():
            _, fd, frame = queue.popleft()
            try:
                os.write(fd, frame)
            except OSError:
                pass  # the device is down, as cables sometimes are


main()
