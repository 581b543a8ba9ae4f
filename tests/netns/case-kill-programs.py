#!/usr/bin/env python3
"""Each of the three programs killed with SIGKILL while pings run: the launcher brings it back and
the tunnel loses nothing."""

import os
import re
import signal

from direct import Hub, check, connect, lab_module, overlay_ping, wait_for

PROGRAMS = ["netbird-wg", "netbird-ice", "netbird-helper"]


def daemon_pids(helper, program):
    """Without the launcher, which has the helper's name, too."""
    return {pid for pid in helper.pids(program) if pid != helper.proc.pid}


def main(lab):
    hub = Hub(lab.public("hub"))
    a, b = connect(hub, lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b"))
    overlay_ping(a.host, b.overlay())
    endpoint = a.direct_endpoint(b.key)
    for program in PROGRAMS:
        old = daemon_pids(a, program)
        check(old, f"no {program} with --config-dir {a.dir}")
        pings = a.host.start(f"ping-{program}", ["ping", "-n", "-i", "0.05", "-c", "160", "-W", "1",
                                                 b.overlay()])
        wait_for(lambda: pings.log().count("bytes from") > 10, 5, "pings run", watch=[pings])
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: daemon_pids(a, program) - old, 10, f"{program} is started again",
                 watch=[a.proc])
        pings.wait(30)
        answered = int(re.search(r"(\d+) received", pings.log())[1])
        print(f"{program}: {answered} of 160 pings answered")
        check(answered == 160, f"{program} killed: {160 - answered} of 160 pings lost")
        wait_for(lambda: a.direct_endpoint(b.key) == endpoint, 10,
                 f"{program} killed: endpoint {endpoint} is kept")


lab_module.run(main)
