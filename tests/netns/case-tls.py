#!/usr/bin/env python3
"""A hub with TLS and a CA of its own: who does not know the CA is told so, the others connect.

One helper knows the CA from config.json (login --ca-file), the other from SSL_CERT_FILE and reaches
the hub through a proxy. The hub's certificate is renewed while it runs; plain clients are served on
the same port.
"""

import json
import os
import shutil

from direct import Helper, Hub, check, lab_module, overlay_ping, wait_for

PROXY = os.path.join(os.path.dirname(os.path.realpath(__file__)), "connectproxy.py")


def refused_without_ca(hub, host, key):
    helper = Helper(host, name="stranger")
    done = helper.command("login", "--management-url", hub.url, "--setup-key-file",
                          helper.key_file(key), ok=False)
    text = done.stdout + done.stderr
    print(f"without the CA: status {done.returncode}: {text.strip()}")
    check(done.returncode == 1, f"login ends with {done.returncode}, not 1")
    check('"lab CA", which this machine does not know' in text, "the message is another one")
    check(helper.device() is None, "device.json was written without a server")
    wait_for(lambda: f'tls-failed address={host.public_v4} times=1 why="the client does not trust our certificate"'
             in hub.proc.log(), 5, "the hub says so, too")


def check_status(helper, hub):
    status = helper.status()
    check(status["management"]["connected"] and status["management"]["url"] == hub.url,
          f"{helper.host.name}: management is {status['management']}")
    check(status["signal"]["connected"] and status["signal"]["url"] == hub.url,
          f"{helper.host.name}: signal is {status['signal']}")


def renew(hub, helper):
    """The hub takes a new certificate for new connections, and keeps the old one when it is broken."""
    with open(hub.certificates.file("hub.pem"), "w", encoding="ascii") as file:
        file.write("no certificate\n")
    helper.stop()
    helper.start()
    wait_for(lambda: "old-certificate-stays-in-use" in hub.proc.log(), 15,
             "the hub says that it keeps the old certificate", watch=[helper.proc])
    hub.certificates.make("hub", f"IP:{hub.address}")
    helper.stop()
    helper.start()
    wait_for(lambda: "certificates-read-again" in hub.proc.log(), 15,
             "the hub says that it has read the new certificate", watch=[helper.proc])
    wait_for(lambda: (helper.status() or {}).get("management", {}).get("connected"), 15,
             "management is back with the new certificate", watch=[helper.proc])


def main(lab):
    if not shutil.which("openssl"):
        lab_module.skip("no openssl command")
    hub = Hub(lab.public("hub"), tls=True)
    proxy_host = lab.public("proxy")
    proxy = proxy_host.start("proxy", ["python3", PROXY, "3128"])
    wait_for(lambda: "listening" in proxy.log(), 10, "the proxy listens", watch=[proxy])
    key = hub.key("--reusable")
    host_a, host_b = lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b")
    refused_without_ca(hub, host_a, key)
    a, b = Helper(host_a), Helper(host_b)
    a.command("login", "--management-url", hub.url, "--setup-key-file", a.key_file(key), "--ca-file",
              hub.certificates.ca)
    with open(os.path.join(a.dir, "config.json"), encoding="utf-8") as file:
        check(json.load(file)["caFile"] == hub.certificates.ca, "login has not kept the CA file")
    a.start(hub.url)
    b.start(hub.url, key, SSL_CERT_FILE=hub.certificates.ca,
            HTTPS_PROXY=f"http://user:secret@{proxy_host.v4}:3128")
    a.overlay(), b.overlay()
    a.wait_direct(b.public_key())
    b.wait_direct(a.public_key())
    overlay_ping(host_a, b.overlay(), count=5)
    check_status(a, hub)
    check_status(b, hub)
    # Both of b's connections, and nothing else, went through the proxy.
    asked = [line for line in proxy.log().splitlines() if line.startswith("CONNECT")]
    wanted = f"CONNECT {hub.address}:{hub.port} Basic dXNlcjpzZWNyZXQ="
    check(len(asked) >= 2 and set(asked) == {wanted}, f"the proxy was asked for {asked}")
    check("secret" not in b.proc.log(), "the proxy's password is in the log")
    # A plain client on the same port.
    done = host_a.run(["python3", "-c", "import urllib.request as u; u.urlopen("
                       f"'http://{hub.address}:{hub.port}/')"], ok=False)
    check("404" in done.stderr, f"a plain request got {done.stderr}")
    renew(hub, a)
    overlay_ping(host_b, a.overlay(), count=5)


lab_module.run(main)
