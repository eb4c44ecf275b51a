#!/usr/bin/env bash
# pyroute2's verb "update" deletes an IPVS service or real server.
#
# Expected: pyroute2.IPVS().dest("update", ...) and .service("update", ...) edit the record in the kernel, as "set"
# does.
# What happens: both build the kernel's delete command, with the whole record attached. The kernel deletes by the key
# and does not look at the rest, so the real server or the virtual service is gone. "set" is the verb that edits.
# Version: pyroute2 0.9.7, Python 3.11. No kernel IPVS is needed: the script prints the command each verb would send.
# Seen on 2026-11-28: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -qq --disable-pip-version-check install pyroute2==0.9.7

recorded='service add: IPVS_CMD_NEW_SERVICE
service set: IPVS_CMD_SET_SERVICE
service update: IPVS_CMD_DEL_SERVICE
dest add: IPVS_CMD_NEW_DEST
dest set: IPVS_CMD_SET_DEST
dest update: IPVS_CMD_DEL_DEST'

seen=$("$tmp/venv/bin/python" - <<'PYTHON'
import asyncio

from pyroute2 import IPVSDest, IPVSService
from pyroute2.ipvs import AsyncIPVS
from pyroute2.netlink.generic import ipvs

NAMES = {
    number: name for name, number in vars(ipvs).items() if name.startswith("IPVS_CMD_") and isinstance(number, int)
}


class Recorder(AsyncIPVS):
    """Keeps the command instead of sending it."""

    def __init__(self):
        self.sent = []

    async def _do_request(self, msg, msg_flags=0):
        self.sent.append(NAMES[msg["cmd"]])


async def main():
    service = IPVSService(addr="192.0.2.1", port=80, protocol=6)
    server = IPVSDest(addr="198.51.100.11", port=80, weight=2)
    recorder = Recorder()
    for verb in ("add", "set", "update"):
        await recorder.service(verb, service=service)
        print(f"service {verb}: {recorder.sent[-1]}")
    for verb in ("add", "set", "update"):
        await recorder.dest(verb, service=service, dest=server)
        print(f"dest {verb}: {recorder.sent[-1]}")


asyncio.run(main())
PYTHON
)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: "update" sends IPVS_CMD_DEL_SERVICE and IPVS_CMD_DEL_DEST'
