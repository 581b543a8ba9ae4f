#!/usr/bin/env python3
"""Two hosts and the hub on one network."""

from direct import Hub, connect_and_check, lab_module, place


def main(lab):
    nat = lab.nat("router")
    hub = Hub(nat.host("hub"))
    a, b = nat.host("a"), nat.host("b")
    connect_and_check(hub, a, b, place(b.v4), place(a.v4))


lab_module.run(main)
