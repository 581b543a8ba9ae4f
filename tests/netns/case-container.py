#!/usr/bin/env python3
"""In a container with NET_ADMIN and NET_RAW, without SYS_ADMIN and without namespaces: the launcher works,
netbird-ice uses the TUN device of netbird-wg, tunnels are direct; and `status` says so. Where there is
not even that, it says why there is no ICE."""

import os
import signal
import sys

from direct import Hub, Helper, check, connect, lab_module, overlay_ping, wait_for

import procfs

CONTAINER = [sys.executable, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib", "container.py")]
TUN = "nbh-ice0"


def own_dev_net(host, mode):
    """As a container has the device: docker gives it the mode that udev gave it."""
    host.shell(f"mount -t tmpfs none /dev/net && mknod -m {mode} /dev/net/tun c 10 200")


def has_tun(host):
    return host.run(["ip", "link", "show", TUN], ok=False).returncode == 0


def rules(host):
    return [line for family in "46" for line in host.run(["ip", f"-{family}", "rule"]).stdout.splitlines()
            if "4711" in line or TUN in line]


def pid_of(helper, name):
    return next(pid for pid in helper.pids(name) if pid != helper.proc.pid)


def check_host_tun(a):
    """It is in nobody else's namespace, but as unprivileged as everywhere."""
    pid = pid_of(a, "netbird-ice")
    check(procfs.namespaces(pid) == procfs.namespaces(a.proc.pid), "netbird-ice: a namespace of its own?")
    held = {name: mask for name, mask in procfs.caps(pid).items() if name != "Bnd"}
    check(not any(held.values()), f"netbird-ice: capabilities {held}")
    check(procfs.status(pid)["Seccomp"].strip() == "2", "netbird-ice: seccomp")
    check(a.status()["ice"]["backend"] == "host-tun", f"status.json: {a.status()['ice']}")
    text = a.command("status").stdout
    check("ICE: in the host's network, by host-tun\n" in text, f"status: {text}")
    check("started backend=host-tun ipv6=yes" in a.proc.log(), "netbird-ice: no IPv6 in the device")
    check(len(rules(a.host)) == 4, f"rules: {rules(a.host)}")
    with open(os.path.join(a.dir, "ice", "sessions"), encoding="ascii") as file:
        check("192.0.0.8" not in file.read(), "the device's address became a candidate")


def check_down_and_up(a, b):
    a.command("down")
    wait_for(lambda: not has_tun(a.host) and not rules(a.host), 10, "down: device and rules are gone")
    a.command("up")
    wait_for(lambda: has_tun(a.host), 10, "up: the device is there")
    overlay_ping(a.host, b.overlay())
    a.wait_direct(b.key)


def check_restart(a, b):
    """The device is the same for the next netbird-ice, and the tunnel loses nothing."""
    old = pid_of(a, "netbird-ice")
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: set(a.pids("netbird-ice")) - {old} and a.status()["ice"]["backend"] == "host-tun", 10,
             "netbird-ice is back", watch=[a.proc])
    check(a.host.ping(b.overlay(), 5) == 5, "pings after netbird-ice was killed")


def check_no_forwarding(a):
    """What comes out of the device must not go on into other networks."""
    a.host.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")
    done = a.host.run(["ip", "route", "get", "203.0.113.254", "from", "198.51.100.1", "iif", TUN], ok=False)
    check(done.returncode != 0, f"the device forwards: {done.stdout}")
    done = a.host.run(["ip", "route", "get", a.host.v4, "from", "198.51.100.1", "iif", TUN], ok=False)
    check(done.returncode == 0, f"but it must reach this host: {done.stderr}")


def check_nothing(lab, hub):
    """Neither namespaces nor the device: no ICE, and the reason."""
    host = lab.public("c")
    own_dev_net(host, "0600")
    c = Helper(host)
    c.wrap = CONTAINER
    c.start(hub.url, hub.key("--reusable"))

    def error():
        return ((c.status() or {}).get("ice") or {}).get("error", "")
    wait_for(lambda: "exit code 77: " in error(), 20, "status says how netbird-ice ended", watch=[c.proc])
    check("Operation not permitted" in error() and f"{TUN}: Permission denied" in error(), f"ice error: {error()}")
    text = c.command("status").stdout
    check("ICE: not available\n" in text and error() in text, f"status: {text}")
    # And netbird-wg, which cannot have its device either, says that itself.
    check("/dev/net/tun" in c.status()["wireguard"]["error"], f"wireguard: {c.status()['wireguard']}")
    c.stop()


def check_too_little(lab):
    """Without docker's defaults: it ends, and says what root lacks."""
    d = Helper(lab.public("d"))
    d.wrap = CONTAINER + ["--without", "chown", "--without", "dac_override", "--without", "setpcap"]
    d.start("http://203.0.113.1:8080")
    check(d.proc.wait(10) == 77, f"exit code {d.proc.poll()}")
    check("root lacks CAP_CHOWN CAP_DAC_OVERRIDE CAP_SETPCAP; " in d.proc.log(), "the log names what is missing")


def main(lab):
    hub = Hub(lab.public("hub"))
    host_a, host_b = lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b")
    own_dev_net(host_a, "0666")
    host_a.firewall()
    a, b = connect(hub, host_a, host_b, wraps=(CONTAINER, []))
    overlay_ping(host_a, b.overlay())
    overlay_ping(host_b, a.overlay())
    check_host_tun(a)
    check_restart(a, b)
    check_down_and_up(a, b)
    check_no_forwarding(a)
    # Nothing runs: `down` takes it away all the same.
    a.stop()
    check(has_tun(a.host), "SIGTERM: the device stays, for the next start")
    a.command("down")
    check(not has_tun(a.host) and not rules(a.host), f"down, nothing running: {rules(a.host)}")
    check_nothing(lab, hub)
    check_too_little(lab)


lab_module.run(main)
