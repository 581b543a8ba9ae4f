#!/usr/bin/env python3
"""Servers that flood, stall and lie: `login` ends with words that name the server and what was wrong; a
running helper keeps its tunnels, its memory and its CPU time, and comes back to the honest hub."""

import os
import re

from direct import Helper, Hub, check, connect, lab_module, overlay_ping, wait_for

SERVER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "hostileserver.py")
PORT = 8100
ROUND_SECONDS = 60
GROWTH_MAX_KB = 96 * 1024  # two messages of 16 MiB, in buffers that grow by doubling
KEPT_MAX_KB = 12 * 1024
CPU_MAX_PERCENT = 35
LOG_MAX_BYTES = 256 * 1024

# What `login` must say behind HOST:PORT.
KINDS = {
    "ping": "sends too many PING frames; ask its administrator",
    "settings": "sends too many SETTINGS frames; ask its administrator",
    "window-updates": "sends too many WINDOW_UPDATE frames; ask its administrator",
    "continuation": "HTTP/2 error: Too many CONTINUATION frames",
    "slow-headers": "no answer in time",
    "huge-headers": "the response headers are too large",
    "interim-answers": "the response headers are too large",
    "big-message": "a message larger than 16 MiB",
    "full-message": "the answer to GetServerKey cannot be used: .*; is this a NetBird management server",
    "endless-messages": "more than one answer",
    "compressed": "a compressed message",
    "resets": "the stream was reset",
    "refusals": "the server refused the call",
    "goaway": r"the server closes the connection \(ENHANCE_YOUR_CALM: go away\?\[31m\)",
    "html": 'content type "text/html", not gRPC',
    "wrong-key": "the answer to Login cannot be used",
    "busy": "come back later",
    "mute": "no answer in time",
    "hang-up": "closed by the server|reset by the server",
    "reset": "reset by the server",
    "silent": "says nothing|no answer|no connection",
    "noise": "does not speak HTTP/2",
}


# Each takes a running helper as long as its deadlines: they come last.
STALLS = ["slow-headers", "endless-messages", "mute", "silent"]


def check_login(lab, server, kinds):
    host = lab.public("guest")
    logins = {}
    for number, kind in enumerate(kinds, 1):
        helper = Helper(host, name=f"helper-{kind}")
        key = helper.key_file("00000000-0000-0000-0000-000000000000")
        url = f"http://{server.v4}:{PORT + number}"
        logins[kind] = url, host.start(f"login-{kind}", [
            helper.program, "login", "--config-dir", helper.dir, "--management-url", url, "--setup-key-file", key])
    wrong = []
    for kind, (url, login) in logins.items():
        status = login.wait(90)
        text = login.log()
        print(f"{kind}: {status}: {text.strip()}")
        if status != 1 or url.removeprefix("http://") not in text or not re.search(KINDS[kind], text):
            wrong.append(kind)
        check("\x1b" not in text, f"{kind}: control characters of the server")
    check(not wrong, f"login against {wrong} said something else")


def memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        text = file.read()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]), int(re.search(r"VmHWM:\s+(\d+)", text)[1])


def main(lab):
    hub = Hub(lab.public("hub"))
    server = lab.public("server")
    a, b = connect(hub, lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b"))
    overlay_ping(a.host, b.overlay())
    before = a.pids()
    first_kb = {pid: memory_kb(pid)[0] for pid in before}
    hub.proc.stop()

    # Another server takes the hub's place, and another one what it likes.
    kinds = list(KINDS)
    guests = server.start("server", ["nice", "python3", SERVER, PORT, *kinds])
    place = hub.host.start("server", ["nice", "python3", SERVER, hub.port,
                                         *[kind for kind in kinds if kind not in STALLS], *STALLS])
    for proc in (guests, place):
        wait_for(lambda: "listening" in proc.log(), 10, f"{proc.name} listens", watch=[proc])
    ticks = a.ticks()
    pings = a.host.start("ping", ["ping", "-n", "-i", "0.1", "-c", ROUND_SECONDS * 10, "-W", "1", b.overlay()])
    check_login(lab, server, kinds)
    check(pings.wait(ROUND_SECONDS + 60) == 0, f"ping: {pings.log()[-500:]}")
    answered = int(re.search(r"(\d+) received", pings.log())[1])
    used = a.ticks() - ticks
    seen = set(re.findall(r"connection \d+ on \d+: (\S+)", place.log()))
    print(f"{answered} of {ROUND_SECONDS * 10} pings; {used} ticks; a running helper has met {sorted(seen)}")
    check(len(seen) >= 10, f"a running helper has only met {seen}")
    check(answered >= ROUND_SECONDS * 10 - 1, f"{ROUND_SECONDS * 10 - answered} pings lost")
    check(used <= ROUND_SECONDS * CPU_MAX_PERCENT, f"{used} ticks in {ROUND_SECONDS} s")
    status = a.status()
    print(status["management"], status["signal"])
    check(not status["management"]["connected"] and status["management"]["error"], "status says nothing is wrong")
    check(f"{hub.address}:{hub.port}" in status["management"]["error"] or "management" in status["management"]["error"],
          f"status does not name the server: {status['management']}")
    log = a.proc.log()
    check(len(log) < LOG_MAX_BYTES and "\x1b" not in log, f"the log has {len(log)} bytes, or control characters")
    for pid, kb in first_kb.items():
        now_kb, most_kb = memory_kb(pid)
        print(f"{before[pid]}: {kb} kB, at most {most_kb}, now {now_kb}")
        check(most_kb - kb < GROWTH_MAX_KB, f"{before[pid]} grew from {kb} to {most_kb} kB")
        check(now_kb - kb < KEPT_MAX_KB, f"{before[pid]} keeps {now_kb} kB")
    check(a.pids() == before, "a program ended and was started again")

    place.stop()
    hub.start()
    for helper in (a, b):
        wait_for(helper.status, 10, "status.json is there", watch=[helper.proc])
        wait_for(lambda: helper.status()["management"]["connected"] and helper.status()["signal"]["connected"], 20,
                 f"{helper.host.name} is back at the hub", watch=[helper.proc])


lab_module.run(main)
