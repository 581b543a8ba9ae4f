#!/usr/bin/env python3
"""Setup keys that the server refuses: status 69, the reason, and no storm of retries."""

import time

from direct import Helper, Hub, check, lab_module, wait_for

QUIET_SECONDS = 4


def attempts(hub):
    """New TCP connections to the hub so far, counted by its firewall."""
    done = hub.host.run(["nft", "-j", "list", "counter", "inet", "count", "syn"])
    return int(done.stdout.split('"packets": ')[1].split(",")[0])


def count_connections(hub):
    hub.host.nft(f"""
        table inet count {{
            counter syn {{ }}
            chain input {{
                type filter hook input priority 0;
                iifname "eth0" tcp dport {hub.port} tcp flags & (syn | ack) == syn counter name syn
            }}
        }}""")


def main(lab):
    hub = Hub(lab.public("hub"))
    count_connections(hub)
    host = lab.nat("nat").host("a")

    used = hub.key()
    first = Helper(host, "first")
    first.command("login", "--management-url", hub.url, "--setup-key-file", first.key_file(used))
    expired = hub.key("--expires", "1s")
    time_made = time.monotonic()
    keys = {"unknown": "11111111-2222-3333-4444-555555555555", "used": used, "expired": expired}
    wait_for(lambda: time.monotonic() > time_made + 2.1, 5, "the key has expired")

    for name, key in keys.items():
        helper = Helper(host, f"login-{name}")
        done = helper.command("login", "--management-url", hub.url, "--setup-key-file",
                              helper.key_file(key), ok=False)
        text = done.stdout + done.stderr
        print(f"{name}: status {done.returncode}: {text.strip()}")
        check(done.returncode == 69, f"{name} key: login ends with {done.returncode}, not 69")
        check("setup key" in text.lower(), f"{name} key: the message does not say so: {text}")
        check(key not in text, f"{name} key: the key is in the message")

    # The daemon, too, takes no for an answer.
    helper = Helper(host, "daemon").start(hub.url, keys["unknown"])
    wait_for(lambda: "setup key" in helper.proc.log().lower(), 10,
             "the daemon reports the refused key")
    before = attempts(hub)
    time.sleep(QUIET_SECONDS)  # counts what happens in a span of time
    after = attempts(hub)
    print(f"connections in {QUIET_SECONDS} s after the refusal: {after - before}")
    check(after - before <= 3, f"retry storm: {after - before} connections in {QUIET_SECONDS} s")
    check(keys["unknown"] not in helper.proc.log(), "the setup key is in the log")
    status = helper.proc.poll()
    check(status in (None, 69), f"the daemon ended with {status}, not 69")


lab_module.run(main)
