#!/usr/bin/env python3
"""A sleeping peer woken by local traffic: of 80 packets at once none is lost, the first is answered
within 100 ms. The initiation that WireGuard spent on the loopback address is forwarded (FORWARD)."""

from restarts import Pings, burst, check, find_program, lab_module, pair_behind_nats, wait_for

BURST = 80
FIRST_MS_MAX = 100


def go_idle(hub, a, b):
    """Both hear it from each other, as when both had decided so."""
    program = find_program("tests/lib/go-idle")
    for teller, told in ((a, b), (b, a)):
        hub.host.run([program, hub.url, teller.dir, told.key])
    for here, there in ((a, b), (b, a)):
        wait_for(lambda: (here.wg_endpoint(there.key) or "").startswith("127.1."), 5,
                 f"{here.host.name} asleep: WireGuard has the loopback endpoint", watch=[here.proc])


def main(lab):
    hub, a, b = pair_behind_nats(lab)
    for here, there in ((a, b), (b, a), (a, b)):
        go_idle(hub, a, b)
        answered, first_ms = burst(here.host, there.overlay(), BURST)
        print(f"{here.host.name} wakes {there.host.name}: {answered} of {BURST}, first after {first_ms} ms", flush=True)
        check(answered == BURST, f"{BURST - answered} of {BURST} packets lost")
        check(first_ms < FIRST_MS_MAX, f"first reply after {first_ms} ms")
        for one, other in ((a, b), (b, a)):
            wait_for(lambda: one.direct_endpoint(other.key), 5, "direct again", watch=[one.proc])
    pings = Pings(a.host, b.overlay())
    pings.check_none_lost("after waking")
    pings.done()


lab_module.run(main)
