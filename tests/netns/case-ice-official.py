#!/usr/bin/env python3
"""netbird-ice and a peer with the official client's manners: trim, echo, both roles, liveness, and a
restart of netbird-ice that the peer does not notice."""

import os
import re
import signal
import sys
import time

from iceport import LIB, Node, PORT, drive, lab_module
from lab import check, wait_for


class Official:
    def __init__(self, host, node, role):
        self.control = os.path.join(node.dir, f"silent-{role}")
        self.proc = host.start(f"official-{role}", [sys.executable, os.path.join(LIB, "officialpeer.py"),
                                                    node.host.v4, PORT, "a", "B", role, self.control])

    def answers(self):
        return re.findall(r"^answered \d+ (\w+)$", self.proc.log(), re.M)


def start_session(node, far, *flags):
    return drive(node.host, node, None, "--hosts-a", node.host.v4, "--hosts-b", far.v4, *flags)


def main(lab):
    far = lab.public("far")
    node = Node(lab, lab.public("a"), "a")
    node.start()

    for role, flags in (("controlled", []), ("controlling", ["--a-controlled"])):
        official = Official(far, node, role)
        result = start_session(node, far, *flags, "--hold", "500")
        check(result.pair("A")[2:] == ["host", f"{far.v4}:{PORT}"], result.text)
        check(result.selected_ms()["A"][0] < 400, f"slow: {result.text}")
        wait_for(official.answers, 5, "an answer", watch=[official.proc])
        check(set(official.answers()) == {"echo"}, f"0x8100: {official.answers()}")
        check(node.counters()["drop_answer"] > 0, "the second answer should go nowhere")
        if role == "controlled":
            official.proc.stop()

    # It pings every 2 s: we hold on. netbird-ice killed and back: it does not notice.
    before = len(official.answers())
    node.ice.signal(signal.SIGKILL)
    node.ice.wait(5)
    node.start()
    began = time.monotonic()
    wait_for(lambda: len(official.answers()) >= before + 5, 14, "five pings answered", watch=[official.proc])
    check(time.monotonic() - began < 12.5, "a ping was not answered")
    check(time.monotonic() - began > 7.5, "the pings came too fast to show anything")
    check(set(official.answers()) == {"echo"}, f"0x8100: {official.answers()}")
    check("lost peer" not in node.ice.log() and "failed peer" not in node.ice.log(), "an event in the log")

    # Silence: LOST after 6 s.
    open(official.control, "w", encoding="ascii").close()
    listed = drive(node.host, node, None, "--no-open", "--wait", "lost")
    check(listed.last("session", "A") == ["a" * 16, "selected"], listed.text)
    at_ms = int(re.search(r"^(\d+) lost A$", listed.text, re.M).group(1))
    check(3500 < at_ms < 7500, f"lost after {at_ms} ms: {listed.text}")
    print(f"# lost {at_ms} ms after the silence began (the last ping was up to 2 s old)")


lab_module.run(main)
