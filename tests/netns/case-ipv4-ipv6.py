#!/usr/bin/env python3
"""Both families public on both hosts: IPv4 wins, as with two official clients."""

from direct import Hub, connect_and_check, lab_module, place


def main(lab):
    hub = Hub(lab.public("hub", v6=True))
    a, b = lab.public("a", v6=True), lab.public("b", v6=True)
    connect_and_check(hub, a, b, place(b.v4), place(a.v4))


lab_module.run(main)
