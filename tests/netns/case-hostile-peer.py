#!/usr/bin/env python3
"""A member of the network floods the others by signal with all that is wrong: the tunnel between the
others loses nothing, no program dies or grows, and nobody is made to send where it should not."""

import os
import re

from direct import Helper, Hub, check, connect, lab_module, overlay_ping, wait_for
from programs import ticks_of

SECONDS = 8
GROWTH_MAX_KB = 32 * 1024
LOG_MAX_BYTES = 256 * 1024
TICKS_MAX_PER_S = 60


def tool():
    path = os.path.join(os.environ.get("NBH_BIN_DIR", ""), "tests", "tools", "hostile-peer")
    if not os.access(path, os.X_OK):
        lab_module.skip(f"no {path}: make tests/tools/hostile-peer")
    return path


def memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])


def main(lab):
    program = tool()
    hub = Hub(lab.public("hub"))
    a, b = connect(hub, lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b"))
    overlay_ping(a.host, b.overlay())
    before = {pid: memory_kb(pid) for helper in (a, b) for pid in helper.pids()}
    hub_before = memory_kb(hub.proc.pid)
    endpoints = a.direct_endpoint(b.key), b.direct_endpoint(a.key)

    mallory = lab.public("mallory")
    key_file = Helper(mallory).key_file(hub.key())
    used = {pid: ticks_of(pid) for pid in before}
    attack = mallory.start("hostile-peer", [program, hub.url, key_file, SECONDS])
    pings = a.host.start("ping", ["ping", "-n", "-i", "0.02", "-c", SECONDS * 40, "-W", "1",
                                  b.overlay()])
    check(attack.wait(SECONDS + 30) == 0, f"hostile-peer: {attack.log()}")
    check(pings.wait(30) == 0, f"ping: {pings.log()}")
    used = {pid: ticks_of(pid) - used[pid] for pid in used}
    sent = int(re.search(r"sent (\d+)", attack.log())[1])
    mallory_key = re.search(r"key (\S+)", attack.log())[1]
    print(attack.log())
    check(sent > 2000, f"only {sent} messages: that was no flood")
    for helper in (a, b):
        ticks = {name: used[pid] for pid, name in helper.pids().items() if used.get(pid)}
        print(f"{helper.host.name}: ticks {ticks} in {SECONDS} s, {sent / SECONDS:.0f} messages/s to both")
        check(max(ticks.values()) < TICKS_MAX_PER_S * SECONDS, f"{ticks} ticks in {SECONDS} s")
    answered = int(re.search(r"(\d+) received", pings.log())[1])
    check(answered == SECONDS * 40, f"{SECONDS * 40 - answered} of {SECONDS * 40} pings lost")

    for helper in (a, b):
        check(set(helper.pids()) <= set(before), "a program ended and was started again")
        log = helper.proc.log()
        check("too-many-messages" in log, "nothing was said about the flood")
        check("\x1b" not in log and "\nu" not in log, "the log has what mallory wrote")
        check(len(log) < LOG_MAX_BYTES, f"the log has {len(log)} bytes")
        check(not re.search(r"\bbug\b|CRITICAL|WARNING \*\*", log), "the log names a bug")
        check(helper.direct_endpoint(mallory_key) is None,
              f"a path to {helper.endpoint(mallory_key)}, where nobody answered")
    for pid, kb in before.items():
        grown = memory_kb(pid) - kb
        print(f"pid {pid}: {kb} kB, grown by {grown} kB")
        check(grown < GROWTH_MAX_KB, f"pid {pid} has grown by {grown} kB")
    grown = memory_kb(hub.proc.pid) - hub_before
    check(grown < GROWTH_MAX_KB, f"netbird-hub has grown by {grown} kB")
    check((a.direct_endpoint(b.key), b.direct_endpoint(a.key)) == endpoints,
          "the honest path has moved")

    # And they still do what they are for: a third one joins.
    c = Helper(lab.nat("nat-c").host("c")).start(hub.url, hub.key())
    c.overlay()
    c.key = c.public_key()
    wait_for(lambda: a.peer(c.key), 15, "the new peer in a's peers.json", watch=[a.proc])
    c.wait_direct(a.key)
    a.wait_direct(c.key)


lab_module.run(main)
