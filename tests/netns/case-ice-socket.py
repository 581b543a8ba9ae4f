#!/usr/bin/env python3
"""ice.sock: wrong lines, several clients, FORWARD, STUN without an answer, damaged ice/sessions, wrong starts."""

import os
import re

from iceport import Client, Node, PORT, UID, find_program, lab_module
from lab import check, read_text, wait_for

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OPEN = f"OPEN {KEY} {'u' * 16} {'p' * 32} - controlled 0 off"
INITIATION = "01000000" + "ab" * 144


def check_lines(node, far):
    client = Client(node)
    for line in ("", "NONSENSE", "LIST now", OPEN[:-4], "SELECTED x", "STUN localhost:3478", b"\xff\xfe",
                 "X" * 5000, f"REMOTE {KEY} a b -", "SET_PORT 0", f"FORWARD 192.0.2.1:9 {INITIATION}00"):
        if line:
            client.say(line)
            client.expect("ERROR ")
    client.say("LIST")
    client.expect("END")
    client.say(OPEN)
    client.say(f"OPEN {KEY[:-2]}g= {'u' * 16} {'q' * 32} - controlled 0 off")  # the same ufrag
    client.expect("ERROR ")
    client.say("LIST")
    client.expect(f"SESSION {KEY} {'u' * 16} {'p' * 32} - controlled - - -")
    client.expect("END")

    second = Client(node)
    client.expect("")
    second.say("LIST")
    second.expect("SESSION ")
    second.expect("END")

    second.say(f"FORWARD {far.host.v4}:{PORT} 02{INITIATION[2:]}")
    second.expect("ERROR FORWARD: not a handshake initiation")
    second.say(f"FORWARD 127.0.0.1:{PORT} {INITIATION}")
    second.say(f"FORWARD {far.host.v4}:{PORT} {INITIATION}")
    want = f"initiation of 148 bytes from {node.host.v4} port {PORT}"
    wait_for(lambda: want in far.wg.log(), 5, want)
    check("initiation" not in node.wg.log(), "sent to loopback")

    # Last words are heard, also when the next client is already there.
    for i in range(20):
        second.say(OPEN if i % 2 else "CLOSE_ALL")
        second.sock.close()
        second = Client(node)
        second.say("LIST")
        second.expect("SESSION " if i % 2 else "END")
        if i % 2:
            second.expect("END")

    second.say("STUN 203.0.113.200:3478")
    second.say("STUN 203.0.113.200:3478")
    check(second.read(7.5) is None, "an answer too early")
    second.expect("MAPPED 203.0.113.200:3478 -", 3)
    check(second.read(0.5) is None, "two answers to one question")
    second.say("CLOSE_ALL")
    second.say("LIST")
    second.expect("END")


def check_damaged_store(node):
    """Refused whole, named in the log; another boot's file is no sessions."""
    client = Client(node)
    client.say(OPEN)
    path = f"{node.dir}/ice/sessions"
    wait_for(lambda: "OPEN " in read_text(path), 5, "ice/sessions")
    client.sock.close()
    good = read_text(path)
    boot = re.search(r"SESSIONS 1 (\S+)", good).group(1)
    for text, listed, reason in ((good, True, ""), (good[:-5], False, "sessions: cut off"),
                                 (good.replace("END\n", ""), False, "sessions: no END"),
                                 (good.replace("controlled", "idle"), False, "sessions: OPEN: role"),
                                 (good.replace(boot, "0" * len(boot)), False, "")):
        node.ice.stop()
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        node.start()
        client = Client(node)
        client.say("LIST")
        client.expect("SESSION " if listed else "END")
        check(reason in node.ice.log(), f"{reason}: {node.ice.log()}")
        client.sock.close()


def check_starts(lab, host):
    ice = find_program("netbird-ice")
    where = lab.dir("starts")
    as_nobody = ["setpriv", "--reuid", UID, "--regid", UID, "--clear-groups", "--inh-caps", "-all"]
    with_raw = [*as_nobody[:-1], "-all,+net_raw", "--ambient-caps", "+net_raw"]
    rows = (([], [], 2, "usage:"), ([], ["--config-dir", "/nonexistent"], 1, "/nonexistent: No such file"),
            ([], ["--config-dir", where, "--fwmark", "x"], 2, "--fwmark x: not a number"),
            ([], ["--config-dir", where, "--user", "root"], 2, "--user root"),
            ([], ["--config-dir", where, "--user", "nosuchuser"], 2, "no such user"),
            ([], ["--config-dir", where, "surplus"], 2, "usage:"),
            (as_nobody, ["--config-dir", where], 77, "ice: Permission denied: make it"))
    for before, argv, status, text in rows:
        done = host.run([*before, ice, *argv], ok=False)
        check(done.returncode == status and text in done.stderr, f"{argv}: {done.returncode} {done.stderr}")

    os.mkdir(f"{where}/ice")
    os.chown(f"{where}/ice", UID, UID)
    done = host.run([*as_nobody, ice, "--config-dir", where], ok=False)
    check(done.returncode == 77 and "needs CAP_NET_RAW" in done.stderr, f"no capability: {done.stderr}")
    host.shell("mount -t tmpfs none /dev/net && mknod -m 600 /dev/net/tun c 10 200")
    done = host.run([*with_raw, ice, "--config-dir", where], ok=False)
    check(done.returncode == 77 and "/dev/net/tun: Permission denied: make it 0666" in done.stderr, done.stderr)
    host.shell("rm /dev/net/tun")
    done = host.run([ice, "--config-dir", where], ok=False)
    check(done.returncode == 1 and "/dev/net/tun: No such file" in done.stderr, done.stderr)


def main(lab):
    node, far = Node(lab, lab.public("a"), "a"), Node(lab, lab.public("b"), "b")
    node.start()
    check_lines(node, far)
    check_damaged_store(node)
    check_starts(lab, far.host)


lab_module.run(main)
