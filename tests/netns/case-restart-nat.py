#!/usr/bin/env python3
"""A NAT that has forgotten its mappings and gives other ones: another port, then another public address.
Nothing on the host shows it, and the far end's NAT lets nobody in whom it does not know: only that
WireGuard's packets are not answered tells. Ten pings a second come back, at the new place."""

from restarts import Pings, check, lab_module, pair_behind_nats, time, wait_for

BACK_SECONDS = 25   # what is aimed at
BUSY_SECONDS = 15   # what a busy machine may add


def back_at(a, b, pings, event, place):
    """Nothing comes through any more; until it does again."""
    last, began = max(pings.answered()), time.monotonic()
    session = b.peer(a.key).get("session")
    wait_for(lambda: max(pings.answered()) > last + 20, BACK_SECONDS + BUSY_SECONDS, f"{event}: pings are answered")
    print(f"{event}: {len(pings.lost())} pings lost, back after {time.monotonic() - began:.1f} s", flush=True)
    wait_for(lambda: (b.direct_endpoint(a.key) or "").startswith(place), 5, f"{event}: b reaches a at {place}")
    check(b.peer(a.key).get("session") == session, f"{event}: the WireGuard peer was made anew")
    logs = a.proc.log() + b.proc.log()
    check(logs.count("on SILENT") > back_at.noticed, f"{event}: nobody noticed the silence")
    back_at.noticed = logs.count("on SILENT")


back_at.noticed = 0


def main(lab):
    _, a, b = pair_behind_nats(lab)
    nat = a.host.nat
    pings = Pings(a.host, b.overlay())

    nat.nft('flush chain inet nat post\n'
            'add rule inet nat post meta nfproto ipv4 oifname "wan" meta l4proto udp masquerade to :40000-40999\n'
            'add rule inet nat post meta nfproto ipv4 oifname "wan" masquerade')
    nat.forget_udp()
    back_at(a, b, pings, "another port", f"{a.host.public_v4}:40")

    nat.shell(f"ip addr del {a.host.public_v4}/24 dev wan && ip addr add 203.0.113.200/24 dev wan && "
              "ip route replace default via 203.0.113.254")
    nat.forget_udp()
    back_at(a, b, pings, "another address", "203.0.113.200:40")
    pings.done()


lab_module.run(main)
