#!/usr/bin/env python3
"""Ten minutes behind two NATs with ten pings a second: none lost, no growth, the same endpoint.

WireGuard renews its keys five times in this span, and every NAT mapping is used all the time.
"""

import re

from direct import Hub, check, connect, lab_module, overlay_ping

PINGS = 6000
GROWTH_MAX_KB = 512


def memory_kb(helper):
    total = 0
    for pid in helper.pids():
        text = lab_module.read_text(f"/proc/{pid}/smaps_rollup")
        total += int(re.search(r"Private_Dirty: *(\d+)", text)[1])
    return total


def main(lab):
    hub = Hub(lab.public("hub"))
    a, b = connect(hub, lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b"))
    overlay_ping(a.host, b.overlay(), count=50)
    endpoint, before = a.direct_endpoint(b.key), memory_kb(a)
    answered = a.host.ping(b.overlay(), PINGS, interval=0.1, seconds=700)
    after = memory_kb(a)
    print(f"{answered} of {PINGS} pings; private memory {before} -> {after} kB")
    check(answered == PINGS, f"{PINGS - answered} of {PINGS} pings lost")
    check(a.direct_endpoint(b.key) == endpoint, "the endpoint changed")
    check(after - before <= GROWTH_MAX_KB, f"memory grew by {after - before} kB")


lab_module.run(main)
