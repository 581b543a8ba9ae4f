#!/usr/bin/env python3
"""Public hosts, both with a firewall that drops whatever nobody asked for."""

from direct import Hub, connect_and_check, lab_module, place


def main(lab):
    hub = Hub(lab.public("hub"))
    a, b = lab.public("a"), lab.public("b")
    a.firewall()
    b.firewall()
    connect_and_check(hub, a, b, place(b.v4), place(a.v4))


lab_module.run(main)
