#!/usr/bin/env python3
"""netbird-ice on a LAN: both ways to start it, both roles; isolation, restart, another port, the contract."""

import os
import signal

from iceport import Client, Node, PORT, drive_hosts, lab_module, tool
from lab import check, read_text, wait_for


def check_contract(a, b):
    done = a.host.run([os.path.join(os.path.dirname(tool("ice-drive")), "..", "contract", "contract-ice-process")],
                      env={"NBH_ICE_TEST_DIR_A": a.dir, "NBH_ICE_TEST_DIR_B": b.dir,
                           "NBH_ICE_TEST_ADDR_A": a.host.v4, "NBH_ICE_TEST_ADDR_B": b.host.v4},
                      ok=False, seconds=120)
    check(done.returncode == 0, f"contract: {done.stdout}{done.stderr}")


def check_restart(a, b):
    """Killed and started again: the same sessions, no word from the helper, and no FAILED although a
    controlled agent is never nominated again."""
    drive_hosts(a, b, "--a-controlled", "--liveness", "0", "--letters", "mN")
    wait_for(lambda: "SELECTED" in read_text(f"{a.dir}/ice/sessions"), 5, "ice/sessions")
    before = read_text(f"{a.dir}/ice/sessions")
    check(os.stat(f"{a.dir}/ice/sessions").st_mode & 0o777 == 0o600, "ice/sessions: mode")
    a.ice.signal(signal.SIGKILL)
    a.ice.wait(5)
    a.start()
    listed = drive_hosts(a, b, "--no-open", "--hold", "9000")
    check(listed.last("session", "A") == ["m" * 16, "selected"], f"not brought back: {listed.text}")
    check(listed.last("failed", "A") is None, f"failed: {listed.text}")
    check(read_text(f"{a.dir}/ice/sessions") == before, "ice/sessions changed by a restart")
    a.check_isolated("root-launcher")


def check_port_change(a, b):
    drive_hosts(a, b)
    drive_hosts(a, b, "--port", PORT + 1, "--no-open", "--wait", "down", "--timeout", "5", ok=False)
    check(a.ice.wait(5) == 75 and b.ice.wait(5) == 75, "another port: exit status 75")
    a.start()
    b.start()
    again = drive_hosts(a, b, "--port", PORT + 1, "--no-open")
    check(not again.last("session", "A"), f"sessions of the old port: {again.text}")


def check_container_root(lab, nat):
    """Root without CAP_SYS_ADMIN: as an ordinary user, if /dev/net/tun allows it."""
    c = Node(lab, nat.host("c"), "c")
    c.host.shell("mount -t tmpfs none /dev/net && mknod /dev/net/tun c 10 200 && chmod 666 /dev/net/tun")
    c.start(before=["setpriv", "--bounding-set", "-sys_admin"])
    Client(c)
    c.check_isolated("user-namespace")


def main(lab):
    nat = lab.nat("router")
    a, b = Node(lab, nat.host("a"), "a"), Node(lab, nat.host("b"), "b")
    a.start()
    b.unprivileged(["--fwmark", "7"])
    for flags in ([], ["--a-controlled", "--letters", "cD"], ["--same-role", "--letters", "oP"],
                  ["--same-role", "--a-controlled", "--letters", "qR"]):
        result = drive_hosts(a, b, *flags)
        own, far = f"{a.host.v4}:{PORT}", f"{b.host.v4}:{PORT}"
        check(result.pair("A") == ["host", own, "host", far], f"pair: {result.text}")
        check(result.pair("B") == ["host", far, "host", own], f"pair: {result.text}")
        check(max(*result.selected_ms()["A"], *result.selected_ms()["B"]) < 150, f"slow: {result.text}")
    a.check_isolated("root-launcher")
    b.check_isolated("user-namespace")
    check(result.last("ready", "B") == ["user-namespace"], result.text)
    check(a.ping(f"{b.host.v4}:{PORT}") == 5, "traffic beside ICE")
    second = a.host.run([a.ice.popen.args[5], "--config-dir", a.dir], ok=False)
    check(second.returncode == 1 and "already runs" in second.stderr, f"two of them: {second.stderr}")
    check_restart(a, b)
    check_contract(a, b)
    check_port_change(a, b)
    check_container_root(lab, nat)
    check(a.ice.stop() == 0, f"SIGTERM: {a.ice.log()}")
    check(b.ice.stop() == 0, f"SIGTERM: {b.ice.log()}")


lab_module.run(main)
