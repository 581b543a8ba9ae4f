#!/usr/bin/env python3
"""Servers that are not there or are something else: a clear message and a quiet retry.

`login` gives up with a message that names the URL. The daemon goes on trying, slowly.
"""

import os

from direct import Helper, check, lab_module, wait_for

SERVER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "badserver.py")

# What answers on port 8080, and a word that the message must contain besides the URL's host.
KINDS = {
    "unreachable": ["refused"],
    "silent": ["timed out", "timeout", "no answer", "not answer"],
    "garbage": ["HTTP/2", "gRPC", "h2"],
    "http1": ["HTTP/2", "HTTP/1.1", "gRPC"],
    "502": ["502"],
    "html": ["gRPC", "text/html"],
}


def main(lab):
    host = lab.nat("nat").host("a")
    for kind, words in KINDS.items():
        server = lab.public(f"srv-{kind}")
        url = f"http://{server.v4}:8080"
        if kind != "unreachable":
            proc = server.start("server", ["python3", SERVER, kind])
            wait_for(lambda: "listening" in proc.log(), 10, f"{kind}: the server listens",
                     watch=[proc])
        helper = Helper(host, name=f"helper-{kind}")
        done = helper.command("login", "--management-url", url, "--setup-key-file",
                              helper.key_file("00000000-0000-0000-0000-000000000000"),
                              ok=False, seconds=60)
        text = done.stdout + done.stderr
        print(f"{kind}: status {done.returncode}: {text.strip()}")
        check(done.returncode == 1, f"{kind}: login ends with {done.returncode}, not 1")
        check(server.v4 in text, f"{kind}: the message does not name the server: {text}")
        check(any(word.lower() in text.lower() for word in words),
              f"{kind}: the message says nothing like {words}: {text}")
        check("00000000-0000" not in text, f"{kind}: the setup key is in the message")
        # No peers.json and no device.json came of it.
        check(helper.device() is None and helper.peers_json() is None,
              f"{kind}: files were written without a server")


lab_module.run(main)
