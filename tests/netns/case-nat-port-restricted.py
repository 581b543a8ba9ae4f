#!/usr/bin/env python3
"""Both hosts behind port-restricted NATs of their own: the main job."""

from direct import Hub, connect_and_check, lab_module, place


def main(lab):
    hub = Hub(lab.public("hub"))
    a, b = lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b")
    connect_and_check(hub, a, b, place(b.public_v4), place(a.public_v4))


lab_module.run(main)
