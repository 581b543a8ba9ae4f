#!/usr/bin/env python3
"""A member floods another with STUN, knowing the ufrag and the password of its own session there: the
other tunnels stay, new peers come in, netbird-ice neither grows nor takes the machine."""

import os
import re
import signal
import sys
import time

from direct import PORT, Helper, Hub, check, connect, lab_module, overlay_ping, wait_for
from programs import ticks_of
from restarts import Pings, daemon_pids, rss_anon_kb

RATE, SECONDS = 5000, 10
GROWTH_MAX_KB = 4 * 1024
TICKS_MAX_PER_S = 30
LOST_MAX = 3
FLOOD = os.path.join(os.path.dirname(os.path.realpath(lab_module.__file__)), "stunflood.py")


def session_of(helper, key):
    """(own ufrag, own password, far ufrag) of the session that netbird-ice has for a peer."""
    found = {}
    for line in lab_module.read_text(os.path.join(helper.dir, "ice", "sessions")).splitlines():
        words = line.split(" ")
        if len(words) > 3 and words[1] == key:
            found[words[0]] = words
    if "OPEN" not in found or "REMOTE" not in found:
        return None
    return found["OPEN"][2], found["OPEN"][3], found["REMOTE"][2]


def counters(helper):
    [pid] = daemon_pids(helper, "netbird-ice")
    before = helper.proc.log().count("counters ")
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: helper.proc.log().count("counters ") > before, 10, "counters in the log")
    line = [line for line in helper.proc.log().splitlines() if "counters " in line][-1]
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)}


def main(lab):
    hub = Hub(lab.public("hub"))
    a, b = connect(hub, lab.public("a"), lab.nat("nat-b").host("b"))
    overlay_ping(a.host, b.overlay())
    m = Helper(lab.public("m")).start(hub.url, hub.key())
    m.overlay()
    m.key = m.public_key()
    a.wait_direct(m.key)
    ufrag, password, far = wait_for(lambda: session_of(a, m.key), 10, "the session is in ice/sessions")
    m.stop()  # from its port it is the flood that speaks now
    pings = Pings(b.host, a.overlay())
    endpoint = a.direct_endpoint(b.key)
    before, pids = rss_anon_kb(a), daemon_pids(a, "netbird-ice")
    [ice] = pids
    used, counted = ticks_of(ice), counters(a)

    began = time.monotonic()
    flood = m.host.start("stunflood", [sys.executable, FLOOD, a.host.v4, PORT, f"{ufrag}:{far}", password,
                                       RATE, SECONDS])
    c = Helper(lab.nat("nat-c").host("c")).start(hub.url, hub.key())
    c.overlay()
    c.key = c.public_key()
    a.wait_direct(c.key)
    c.wait_direct(a.key)
    print(f"a new peer has its path {time.monotonic() - began:.1f} s after the flood began", flush=True)
    check(flood.wait(SECONDS + 60) == 0, f"stunflood: {flood.log()}")
    seconds = time.monotonic() - began
    used = ticks_of(ice) - used
    now = counters(a)
    counted = {name: now[name] - counted[name] for name in now if now[name] != counted[name]}
    after = rss_anon_kb(a)
    print(f"{flood.log().strip()} in {seconds:.1f} s; netbird-ice: {used} ticks, {before} -> {after} kB; {counted}",
          flush=True)
    check(counted.get("drop_integrity", 0) > RATE * SECONDS / 20, "the wrong passwords did not arrive")
    check(counted.get("drop_source", 0) + counted.get("drop_often", 0) > RATE * SECONDS / 4,
          "the good ones did not arrive, or all of them went to libnice")
    check(used < TICKS_MAX_PER_S * seconds, f"netbird-ice used {used} ticks in {seconds:.1f} s")
    check(after["netbird-ice"] - before["netbird-ice"] < GROWTH_MAX_KB, "netbird-ice has grown")
    check(daemon_pids(a, "netbird-ice") == pids, "netbird-ice ended")
    check(a.direct_endpoint(b.key) == endpoint, "the honest path has moved")
    overlay_ping(c.host, a.overlay())
    pings.more()
    lost = pings.lost()
    print(f"STUN flood: {len(lost)} of {max(pings.answered())} pings lost", flush=True)
    # wireguard-go has the same port and reads the flood, too: its socket may be full for a moment.
    check(len(lost) <= LOST_MAX, f"STUN flood: pings {lost[:20]} lost")


lab_module.run(main)
