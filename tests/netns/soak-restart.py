#!/usr/bin/env python3
"""The long outages, side by side: a helper away for ten minutes; management and signal away for ten
minutes. Ten pings a second lose nothing."""

import concurrent.futures

from restarts import Pings, lab_module, pair_behind_nats, programs_away, servers_away

AWAY_SECONDS = 600


def helper_away(lab):
    _, a, b = pair_behind_nats(lab, "-1")
    pings = Pings(b.host, a.overlay())
    programs_away(a, b, pings, ["netbird-helper"], AWAY_SECONDS)
    pings.done()


def hub_away(lab):
    hub, a, b = pair_behind_nats(lab, "-2")
    servers_away(hub, a, b, AWAY_SECONDS)


def main(lab):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(helper_away, lab), pool.submit(hub_away, lab)]:
            done.result()


lab_module.run(main)
