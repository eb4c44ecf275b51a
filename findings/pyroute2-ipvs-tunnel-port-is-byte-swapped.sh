#!/usr/bin/env bash
# pyroute2 sends the port of an IPVS GUE tunnel with its two bytes swapped.
#
# Expected: IPVSDest(port=80, tun_type=1, tun_port=6080) puts both ports into the message in network byte order. The
# kernel reads both attributes, IPVS_DEST_ATTR_PORT and IPVS_DEST_ATTR_TUN_PORT, as big-endian 16-bit numbers.
# What happens: `port` is big-endian, `tun_port` has the byte order of the machine. On x86-64 and arm64 the kernel
# takes 6080 (0x17c0) for 49175 (0xc017) and wraps the packets for that UDP port. It refuses nothing, and what
# pyroute2 reads back looks right, because it swaps a second time. The servers, which listen on 6080, get no packet.
# Version: pyroute2 0.9.7, Python 3.11, little-endian machine. No kernel IPVS is needed: the script looks at the
# bytes.
# Seen on 2026-11-28: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -qq --disable-pip-version-check install pyroute2==0.9.7

recorded='port 80: 0050
tun_port 6080: c017'

seen=$("$tmp/venv/bin/python" - <<'PYTHON'
import struct

from pyroute2 import IPVSDest
from pyroute2.netlink.generic.ipvs import ipvsmsg

PORT, TUN_PORT = 2, 14  # linux/ip_vs.h, IPVS_DEST_ATTR_*

message = ipvsmsg()
server = IPVSDest(addr="198.51.100.11", port=80, fwd_method=2, tun_type=1, tun_port=6080)
message["attrs"] = [("IPVS_CMD_ATTR_DEST", server.dump_nla())]
message.reset()
message.encode()

raw = bytes(message.data)
at = 16 + 4 + 4  # the headers of netlink, of generic netlink and of the one attribute that holds the others
values = {}
while at < len(raw):
    length, kind = struct.unpack_from("=HH", raw, at)
    values[kind & 0x3FFF] = raw[at + 4 : at + length]
    at += (length + 3) & ~3
print("port 80:", values[PORT].hex())
print("tun_port 6080:", values[TUN_PORT].hex())
PYTHON
)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: port 80 goes out as 0050, tun_port 6080 as c017'
