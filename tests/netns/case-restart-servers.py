#!/usr/bin/env python3
"""Management and signal dead for a while, then back: no ping is lost, memory does not grow, and all is
as before soon after, also for a peer that joins then."""

from restarts import lab_module, pair_behind_nats, servers_away


def main(lab):
    hub, a, b = pair_behind_nats(lab)
    servers_away(hub, a, b, 12)


lab_module.run(main)
