#!/usr/bin/env python3
"""No IPv4 anywhere but inside the tunnel."""

from direct import Hub, connect_and_check, lab_module, place


def main(lab):
    hub = Hub(lab.public("hub", v4=False, v6=True))
    a, b = lab.public("a", v4=False, v6=True), lab.public("b", v4=False, v6=True)
    connect_and_check(hub, a, b, place(b.v6), place(a.v6))


lab_module.run(main)
