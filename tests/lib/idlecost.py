"""What the programs of one helper cost while nothing happens: CPU, wake-ups, memory, packets.

CPU is the scheduler's own count in nanoseconds and a wake-up is a voluntary context switch, both
over all threads; memory is what smaps_rollup says. All by program, so that whoever costs is seen.
The launcher is a netbird-helper, too, and is counted apart: with systemd there is none.
"""

import os
import re
import time

from lab import Failed, check, read_text, wait_for
from programs import OURS, Helper, pids_of

PROGRAMS = [*OURS, "launcher"]


def far_peers_program():
    return os.path.join(os.environ.get("NBH_BIN_DIR", ""), "tests", "tools", "far-peers")


class FarPeers:
    """N far ends in one process on a host of their own; kind: "official" or "helper"."""

    def __init__(self, host, hub, key, count, kind):
        self.program = far_peers_program()
        check(os.access(self.program, os.X_OK), f"no {self.program}: make tests/tools/far-peers")
        self.host, self.count = host, count
        key_file = Helper(host).key_file(key)
        self.proc = host.start("far-peers", [self.program, hub.url, key_file, count, kind, host.v4])

    def wait(self, word, seconds):
        wait_for(lambda: re.search(f"^{word}$", self.proc.log(), re.M), seconds,
                 f"{self.count} far ends {word}", watch=[self.proc])

    def stop(self):
        """What they counted: {"checks": ..., "answers": ..., ...}"""
        self.proc.stop()
        counts = [line for line in self.proc.log().splitlines() if line.startswith("checks ")]
        check(counts, f"far-peers: {self.proc.log()[-500:]}")
        return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", counts[-1])}


def programs_of(helper):
    """{program: pid}; the launcher is the one that started the others."""
    found = {}
    pids = pids_of(helper.dir)
    for pid, program in pids.items():
        parent = int(read_text(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[1])
        is_launcher = program == "netbird-helper" and parent not in pids and len(pids) > 3
        found["launcher" if is_launcher else program] = pid
    return found


def spent(pid):
    """(CPU in ns, voluntary context switches) so far, over all threads that live."""
    cpu = switches = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        cpu += int(read_text(f"/proc/{pid}/task/{task}/schedstat").split()[0])
        status = read_text(f"/proc/{pid}/task/{task}/status")
        switches += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[1])
    return cpu, switches


def cost(helper, seconds):
    """{program: (CPU ms per minute, wake-ups per minute)} over a span of this length."""
    pids = programs_of(helper)
    before = {program: spent(pid) for program, pid in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    after = {program: spent(pid) for program, pid in pids.items()}
    minutes = (time.monotonic() - began) / 60
    if pids != programs_of(helper):
        raise Failed(f"programs ended and were started while measured: {pids}")
    return {program: ((after[program][0] - before[program][0]) / 1e6 / minutes,
                      (after[program][1] - before[program][1]) / minutes) for program in pids}


def memory(helper):
    """{program: (anonymous kB, PSS kB)}"""
    found = {}
    for program, pid in programs_of(helper).items():
        text = read_text(f"/proc/{pid}/smaps_rollup")
        found[program] = tuple(int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1])
                               for name in ("Anonymous", "Pss"))
    return found


def total(figures, index):
    """Of the three programs, without the launcher."""
    return sum(values[index] for program, values in figures.items() if program in OURS)


class Packets:
    """UDP packets and bytes (IP) between two hosts, counted on the first by nft: both directions."""

    def __init__(self, host, other):
        self.host = host
        host.nft(f"""
            table inet idle {{
                chain out {{ type filter hook output priority 300; ip daddr {other} counter; }}
                chain inp {{ type filter hook input priority -300; ip saddr {other} counter; }}
            }}""")

    def read(self):
        """{"out": (packets, bytes), "inp": ...} since they were made."""
        text = self.host.run(["nft", "list", "table", "inet", "idle"]).stdout
        found = re.findall(r"chain (\w+).*?counter packets (\d+) bytes (\d+)", text, re.S)
        return {chain: (int(packets), int(size)) for chain, packets, size in found}


def traffic(counter, seconds):
    """{"out": (packets per minute, bytes per minute), "inp": ...}"""
    before, began = counter.read(), time.monotonic()
    time.sleep(seconds)
    after, minutes = counter.read(), (time.monotonic() - began) / 60
    return {chain: tuple((after[chain][i] - before[chain][i]) / minutes for i in (0, 1)) for chain in after}
