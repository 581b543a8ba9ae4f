#!/usr/bin/env python3
"""What an idle helper costs with 100 peers, official ones (they check every two seconds) and helpers.

    soak-idle-cost.py [N official|helper SECONDS]

The far ends are one process (tests/tools/far-peers.c) behind netbird-hub; CPU and wake-ups are those
of helper, ice and wg together. None is lost meanwhile, and every check is answered.
"""

import sys
import time

from direct import Helper, Hub, check, lab_module, wait_for
from idlecost import FarPeers, cost, memory, total

SETTLE_SECONDS = 20  # WireGuard's second handshake, the last repeated offers, netbird-wg's quick look
# Per connected peer and minute: (CPU ms, wake-ups); anonymous memory in kB. Issue 4's table, doubled
# for the CPU: other programs run here, too.
LIMITS = {"official": (6, 60, 8000), "helper": (0.6, 8, 8000)}


def measure(lab, count, kind, seconds):
    hub = Hub(lab.public(f"hub-{kind}"))
    key = hub.key("--reusable")
    helper = Helper(lab.public(f"center-{kind}"))
    helper.start(hub.url, key)
    helper.overlay()
    empty = memory(helper)
    far = FarPeers(lab.public(f"far-{kind}"), hub, key, count, kind)
    far.wait("registered", 60)
    far.wait("connected", 60 + count)
    wait_for(lambda: helper.status()["peers"]["connected"] == count, 30, "all peers are connected",
             watch=[helper.proc])
    time.sleep(SETTLE_SECONDS)
    spent = cost(helper, seconds)
    full = memory(helper)
    counts = far.stop()
    print(f"# {count} {kind} far ends, {seconds} s; per peer and minute: CPU "
          f"{total(spent, 0) / count:.3f} ms, {total(spent, 1) / count:.2f} wake-ups")
    print(f"#   far ends: {counts}")
    for program, (cpu, wakes) in spent.items():
        print(f"#   {program:<16}{cpu:>9.1f} ms/min{wakes:>8.0f} wake-ups/min"
              f"   anonymous {empty[program][0]} -> {full[program][0]} kB"
              f"   PSS {empty[program][1]} -> {full[program][1]} kB")
    print(f"#   {'together':<16}{total(spent, 0):>9.1f} ms/min{total(spent, 1):>8.0f} wake-ups/min"
          f"   anonymous {total(empty, 0)} -> {total(full, 0)} kB"
          f"   PSS {total(empty, 1)} -> {total(full, 1)} kB", flush=True)
    check(counts["lost"] == 0 and counts["connected"] == count, f"lost paths: {counts}")
    check(counts["checks"] - counts["answers"] <= count // 10 + 2, f"unanswered checks: {counts}")
    check(counts["echoed"] >= counts["answers"] - count if kind == "official" else True, f"no echo: {counts}")
    helper.stop()
    hub.proc.stop()
    return total(spent, 0) / count, total(spent, 1) / count, total(full, 0)


def main(lab):
    lab.dump_only = ["center", "far"]
    plan = [(100, "official", 60), (100, "helper", 60)]
    if len(sys.argv) > 3:
        plan = [(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))]
    for count, kind, seconds in plan:
        measured = measure(lab, count, kind, seconds)
        if count < 100:
            continue
        for value, limit, what in zip(measured, LIMITS[kind], ("ms CPU", "wake-ups", "kB anonymous")):
            check(value < limit, f"{kind}: {value:.2f} {what}, limit {limit}")


lab_module.run(main)
