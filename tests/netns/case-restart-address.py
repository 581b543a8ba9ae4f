#!/usr/bin/env python3
"""A host gets another address, a NAT forgets its mappings: the tunnel is back within two seconds or so,
without any program started again."""

from restarts import Pings, check, lab_module, pair_behind_nats, programs_pids, time

BACK_SECONDS = 2.5


def check_back(pings, began, event):
    """Ten pings a second: how long there was no answer."""
    pings.answer_after(began, 10, event)
    took = time.monotonic() - began
    print(f"{event}: answered again after {took:.2f} s", flush=True)
    check(took <= BACK_SECONDS, f"{event}: {took:.2f} s without an answer")


def exchange(host, interface, old, new, gateway):
    """Without promote_secondaries the kernel removes the new address together with the old one."""
    host.shell(f"echo 1 > /proc/sys/net/ipv4/conf/{interface}/promote_secondaries && "
               f"ip addr add {new}/24 dev {interface} && ip addr del {old}/24 dev {interface} && "
               f"ip route replace default via {gateway}")


def change_host_address(a, pings):
    """As DHCP does it in another network: the new one comes, the old one goes."""
    began = time.monotonic()
    host, new = a.host, a.host.v4.rsplit(".", 1)[0] + ".77"
    exchange(host, "eth0", host.v4, new, host.nat.gateway)
    host.v4 = new
    check_back(pings, began, "another address of the host")


def forget_mappings(a, pings):
    """Both ends send all the time, so the router makes the same mapping again."""
    began = time.monotonic()
    a.host.nat.forget()
    check_back(pings, began, "a router that forgot its mappings")


def main(lab):
    # Pairs of their own: after a router forgot, the servers reach its host only when it has spoken.
    for event, tag in ((change_host_address, "-1"), (forget_mappings, "-2")):
        _, a, b = pair_behind_nats(lab, tag)
        before = programs_pids(a), programs_pids(b)
        for here, there in ((a, b), (b, a)):
            pings = Pings(here.host, there.overlay(), f"pings{tag}")
            event(here, pings)
            pings.done()
        check((programs_pids(a), programs_pids(b)) == before, "a program was started again")


lab_module.run(main)
