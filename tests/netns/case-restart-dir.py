#!/usr/bin/env python3
"""The config directory removed under the running programs, and made again: no ping is lost, identity
and tunnel are the same, and everything that the programs know is written again."""

import os
import shutil

from restarts import (Helper, Pings, check, kill, lab_module, overlay_ping, pair_behind_nats,
                      programs_running, replaced, wait_connected, wait_for)

HEAL_SECONDS = 15


def main(lab):
    hub, a, b = pair_behind_nats(lab)
    endpoint = a.direct_endpoint(b.key)
    pings = Pings(b.host, a.overlay())
    shutil.rmtree(a.dir)
    pings.check_none_lost("directory removed")
    said = a.command("status", ok=False)
    check(said.returncode != 0 and a.dir in said.stderr, f"status without a directory: {said}")
    check(not os.path.exists(a.dir), "nobody but the administrator makes it again")
    os.mkdir(a.dir)
    wait_connected(a, HEAL_SECONDS)
    wait_for(lambda: a.direct_endpoint(b.key) == endpoint, HEAL_SECONDS, "peers.json is back")
    check(a.public_key() == a.key, "private.key is back, and the same")
    wait_for(a.wg_status, HEAL_SECONDS, "wg/status.json is back")
    wait_for(lambda: os.path.exists(os.path.join(a.dir, "ice", "ice.sock")), HEAL_SECONDS, "ice.sock is back")
    pings.check_none_lost("directory made again")
    third = Helper(lab.public("third")).start(hub.url, hub.key("--reusable"))
    third.overlay()
    a.wait_direct(third.public_key(), HEAL_SECONDS)
    overlay_ping(third.host, a.overlay())
    for program in ("netbird-helper", "netbird-wg", "netbird-ice"):
        replaced(a, program, kill(a, program))
        pings.check_none_lost(f"{program} killed in the new directory")
    wait_for(lambda: programs_running(a), HEAL_SECONDS, "all three run")
    wait_connected(a, HEAL_SECONDS)
    check(a.direct_endpoint(b.key) == endpoint, "the endpoint is kept")
    pings.done()


lab_module.run(main)
