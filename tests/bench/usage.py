"""What processes cost, from /proc: memory, CPU time, wake-ups."""

import os
import re
import struct

PAGE = os.sysconf("SC_PAGE_SIZE")
PRESENT = 1 << 63
FRAME = (1 << 55) - 1


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def anonymous_mb(pids):
    total = 0
    for pid in pids:
        total += int(re.search(r"^Anonymous: *(\d+)", read(f"/proc/{pid}/smaps_rollup"), re.M)[1])
    return total * 1024 / 1e6


def resident_ranges(pid):
    """(start, end) of the mappings that have pages in memory: Go reserves much more than it uses."""
    span = None
    for line in read(f"/proc/{pid}/smaps").splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if head:
            span = int(head[1], 16), int(head[2], 16)
        elif line.startswith("Rss:") and int(line.split()[1]) > 0:
            yield span


def frames(pid):
    """The physical pages of a process."""
    found = set()
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        for start, end in resident_ranges(pid):
            data = os.pread(file.fileno(), (end - start) // PAGE * 8, start // PAGE * 8)
            for (entry,) in struct.iter_unpack("<Q", data[:len(data) // 8 * 8]):
                if entry & PRESENT and entry & FRAME:
                    found.add(entry & FRAME)
    return found


def alone_mb(pids):
    """All memory of these processes, each page counted once: their PSS on a machine where nobody else
    uses the same libraries. Plain PSS would be shared with the hundred others of the lab."""
    total = set()
    for pid in pids:
        total |= frames(pid)
    return len(total) * PAGE / 1e6


def tasks(pid):
    try:
        return os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return []


def cpu_ms(pids):
    """From schedstat, which counts nanoseconds; clock ticks are too coarse for an idle process."""
    total = 0
    for pid in pids:
        for task in tasks(pid):
            text = read(f"/proc/{pid}/task/{task}/schedstat")
            total += int(text.split()[0]) if text else 0
    return total / 1e6


def wakeups(pids):
    """Voluntary context switches: each is a sleep, and so a wake-up."""
    total = 0
    for pid in pids:
        for task in tasks(pid):
            found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", read(f"/proc/{pid}/task/{task}/status"), re.M)
            total += int(found[1]) if found else 0
    return total


class Counter:
    """Counts UDP on a host's cable, without what goes to and comes from the servers."""

    def __init__(self, host, servers):
        self.host = host
        without = "{ " + ", ".join(servers) + " }"
        host.nft(f"""
            table inet bench {{
                counter out {{ }}
                counter inp {{ }}
                chain out {{
                    type filter hook output priority 50;
                    oifname "eth0" meta l4proto udp ip daddr != {without} counter name out
                }}
                chain inp {{
                    type filter hook input priority -50;
                    iifname "eth0" meta l4proto udp ip saddr != {without} counter name inp
                }}
            }}""")

    def read(self):
        """(packets, bytes), each the mean of both directions."""
        text = self.host.run(["nft", "list", "counters", "table", "inet", "bench"]).stdout
        found = re.findall(r"packets (\d+) bytes (\d+)", text)
        return sum(int(p) for p, _ in found) / 2, sum(int(b) for _, b in found) / 2
