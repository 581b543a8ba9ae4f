"""What scripts/bench measures, line by line, and how the result is shown."""

import json
import os
import platform
import re
import statistics
import time

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


class Line:
    """One line of the table. Smaller is better, unless `least`."""

    def __init__(self, row, key, what, unit, target=None, least=False, known=None):
        self.row, self.key, self.what, self.unit = row, key, what, unit
        self.target, self.least, self.known = target, least, known

    def number(self, value):
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        return f"{value:.{digits}f} {self.unit}".strip()

    def reached(self, value):
        if self.target is None:
            return "-"
        good = value >= self.target if self.least else value < self.target
        return "yes" if good else "no"

    def target_text(self):
        if self.target is None:
            return "-"
        return f"{'>=' if self.least else '<'} {self.target:g} {self.unit}".strip()


PLAIN, TLS = "", "TLS, "
START = "both daemons started to first answered ping, two NATs"
MEMORY = "memory of helper + ice + wg"

LINES = [
    Line("start", "start-0", f"{START}", "ms", 150),
    Line("start", "start-40", f"{START}, servers 40 ms away", "ms", 400),
    Line("start", "cached-0", f"{START}, cached map", "ms", 60),
    Line("start", "cached-40", f"{START}, cached map, servers 40 ms away", "ms", 60),
    Line("direct", "direct-both", "both started to direct path, helper to helper", "ms", 150),
    Line("direct", "direct-late", "one started beside a running one to direct path, helper to helper", "ms", 150),
    Line("direct", "direct-controlling", "one started beside a running one to direct path, helper controls official", "ms", 400),
    Line("direct", "direct-controlled", "one started beside a running one to direct path, official controls helper", "ms", 850),
]
for _scheme in (PLAIN, TLS):
    for _n, _anon, _pss in ((0, 4, 19), (10, 5, 20), (100, 8, 23)):
        _tag = ("tls-" if _scheme else "") + str(_n)
        LINES += [
            Line("memory", f"anon-{_tag}", f"anonymous {MEMORY}, {_scheme}{_n} connected peers", "MB", _anon,
                 known="91 MB" if _n == 100 and not _scheme else None),
            Line("memory", f"pss-{_tag}", f"all {MEMORY}, {_scheme}{_n} connected peers", "MB", _pss),
        ]
LINES += [
    Line("idle", "cpu-official-1", "idle CPU per peer and minute, far end official, of 1", "ms", 6),
    Line("idle", "cpu-official-n", "idle CPU per peer and minute, far end official, of {officials}", "ms", 3),
    Line("idle", "cpu-helper", "idle CPU per peer and minute, far end helper, of {helpers}", "ms", 0.3),
    Line("idle", "wake-official", "wake-ups per peer and minute, far end official, of {officials}", "", 60),
    Line("idle", "wake-helper", "wake-ups per peer and minute, far end helper, of {helpers}", "", 8),
    Line("idle", "packets", "idle packets per peer, minute and direction, both ends helper", "", 8),
    Line("idle", "bytes", "idle traffic per peer, minute and direction, both ends helper", "kB", 1),
    Line("ice", "agent", "ICE agent creation", "ms", 10),
    Line("ice", "gather", "netbird-ice started to our address by STUN, server 40 ms away", "ms", 300),
    Line("map", "map-json", "network map of {map} peers: message to peers.json", "ms", 150),
    Line("map", "map-plan", "file of {map} peers to kernel plan (whole process)", "ms", 100),
    Line("map", "map-json-linear", "message to peers.json: {map} peers over a quarter of them", "times", 5),
    Line("map", "map-plan-linear", "file to kernel plan: {map} peers over a quarter of them", "times", 5),
    Line("iperf", "iperf-ratio", "iperf3 through the tunnel with helper : same tunnel by hand", "", 0.95, least=True),
    Line("iperf", "iperf-ticks", "clock ticks of helper + ice + wg during 10 s of iperf3", "ticks", 1),
]
ROWS = list(dict.fromkeys(line.row for line in LINES))


class Results:
    """{line: values}, ours and official, and what could not be measured."""

    def __init__(self, counts=None):
        self.ours, self.official = {}, {}
        self.counts = counts  # what {officials}, {helpers} and {map} are in this run
        self.troubles, self.extra = [], []
        self.began, self.load = time.time(), os.getloadavg()[0]

    def add(self, key, value):
        if value is not None:
            self.ours.setdefault(key, []).append(value)

    def add_official(self, key, value):
        if value is not None:
            self.official.setdefault(key, []).append(value)

    def trouble(self, text):
        self.troubles.append(" ".join(text.split())[:200])

    def note(self, text):
        self.extra.append(text)

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump([self.ours, self.official, self.troubles, self.extra], file)

    def load_more(self, path):
        with open(path, encoding="utf-8") as file:
            ours, official, troubles, extra = json.load(file)
        self.ours.update(ours)
        self.official.update(official)
        self.troubles += troubles
        self.extra += extra

    @staticmethod
    def median(table, key):
        return statistics.median(table[key]) if table.get(key) else None

    def table(self):
        """[(line, ours or None, official or None)] of what was measured."""
        found = []
        for line in LINES:
            ours, official = self.median(self.ours, line.key), self.median(self.official, line.key)
            if ours is not None or official is not None:
                found.append((line, ours, official))
        return found

    def cells(self):
        rows = []
        for line, ours, official in self.table():
            beside = line.number(official) if official is not None else "-"
            if official is None and line.known and self.official:
                beside = f"({line.known}: not measured in this run)"
            rows.append([line.what.format(**self.counts),
                         line.number(ours) if ours is not None else "-", line.target_text(),
                         line.reached(ours) if ours is not None else "-", beside,
                         f"{ours / official:.2f}" if ours is not None and official else "-"])
        return rows


HEAD = ["what", "netbird-helper", "target", "reached", "official client", "ratio"]


def machine():
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo", encoding="utf-8").read())
    return f"{os.cpu_count()} x {model[1].strip() if model else platform.machine()}, Linux {platform.release()}"


def conditions(results, args, userspace):
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(results.began))} UTC; {machine()}; "
        f"load {results.load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end; "
        f"medians of {args.rounds} round{'s' if args.rounds > 1 else ''}; idle for {args.window} s; "
        f"took {(time.time() - results.began) / 60:.0f} minutes.",
    ]
    if max(results.load, os.getloadavg()[0]) > 1.5 * os.cpu_count():
        lines.append("**The machine was busy with other work: times and rates say less than ratios.**")
    if userspace:
        lines.append("No WireGuard in this kernel: both sides use it in user space, netbird-helper as a separate "
                     "wireguard-go, which is not counted; the official client's is part of its process and is.")
    lines += results.extra
    if results.troubles:
        lines.append("Not measured or repeated: " + "; ".join(results.troubles) + ".")
    return lines


def as_text(results, notes):
    rows = [HEAD] + results.cells()
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    text = ["  ".join(cell.ljust(width) if not i else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]
    return "\n".join(text + [""] + notes)


def as_markdown(results, notes):
    rows = ["| " + " | ".join(HEAD) + " |", "|---|" + "---:|" * (len(HEAD) - 1)]
    rows += ["| " + " | ".join(row) + " |" for row in results.cells()]
    return "\n".join(rows + [""] + notes)


def as_json(results, notes):
    return json.dumps({"figures": results.ours, "official": results.official, "counts": results.counts,
                       "troubles": results.troubles, "notes": notes}, indent=1)


def update_readme(path, markdown):
    """Replaces what is between the two marks."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{path}: needs {BEGIN} and {END} once each, in this order")
    head, rest = text.split(BEGIN)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{head}{BEGIN}\n{markdown}\n{END}{rest.split(END)[1]}")
