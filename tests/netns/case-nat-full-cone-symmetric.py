#!/usr/bin/env python3
"""A full-cone NAT against a symmetric one, whose port nobody can predict."""

from direct import Hub, connect_and_check, lab_module, place


def main(lab):
    hub = Hub(lab.public("hub"))
    a = lab.nat("nat-a", "full-cone").host("a")
    b = lab.nat("nat-b", "symmetric").host("b")
    connect_and_check(hub, a, b, f"{b.public_v4}:*", place(a.public_v4))


lab_module.run(main)
