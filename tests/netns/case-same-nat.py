#!/usr/bin/env python3
"""Two hosts behind one NAT, the hub outside: they find each other on their own network."""

from direct import Hub, connect_and_check, lab_module, place


def main(lab):
    hub = Hub(lab.public("hub"))
    nat = lab.nat("nat")
    a, b = nat.host("a"), nat.host("b")
    connect_and_check(hub, a, b, place(b.v4), place(a.v4))


lab_module.run(main)
