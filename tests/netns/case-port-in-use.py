#!/usr/bin/env python3
"""Another program has WireGuard's port: the helper takes a free one, everywhere, and connects."""

import json
import os

from direct import PORT, Helper, Hub, check, lab_module, overlay_ping, wait_for

HOLD = ("import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        f"s.bind(('0.0.0.0', {PORT})); print('held', flush=True); time.sleep(600)")


def main(lab):
    hub = Hub(lab.public("hub"))
    key = hub.key("--reusable")
    host_a, host_b = lab.nat("nat-a").host("a"), lab.nat("nat-b").host("b")
    holder = host_a.start("holder", ["python3", "-c", HOLD])
    wait_for(lambda: "held" in holder.log(), 5, "the port is taken", watch=[holder])

    a, b = Helper(host_a).start(hub.url, key), Helper(host_b).start(hub.url, key)
    b.overlay()
    wait_for(lambda: (a.device() or {}).get("listenPort", PORT) != PORT, 15,
             "device.json has another port", watch=[a.proc])
    port = a.device()["listenPort"]
    a_key, b_key = a.public_key(), b.public_key()
    a.wait_direct(b_key)
    b.wait_direct(a_key)
    overlay_ping(host_a, b.overlay())

    check(b.endpoint(a_key) == f"{host_a.public_v4}:{port}",
          f"{b.endpoint(a_key)} is not port {port} of {host_a.public_v4}")
    with open(os.path.join(a.dir, "config.json"), encoding="utf-8") as file:
        check(json.load(file)["listenPort"] == port, "config.json has the new port")
    status = a.status()
    check(status["wireguardPort"] == port, f"status says port {status['wireguardPort']}")

    # Chosen once: a restart keeps it, though the first one is free again.
    holder.stop()
    a.stop()
    a.env.pop("NB_SETUP_KEY_FILE")
    a.start()
    wait_for(lambda: (a.status() or {}).get("management", {}).get("connected"), 15,
             "connected again", watch=[a.proc])
    check(a.device()["listenPort"] == port, "another port after a restart")
    overlay_ping(host_a, b.overlay())


lab_module.run(main)
