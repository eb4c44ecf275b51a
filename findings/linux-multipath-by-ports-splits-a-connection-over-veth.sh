#!/usr/bin/env bash
# A router in a namespace with fib_multipath_hash_policy=1 sends the SYN of one connection by one next hop, and the same
# SYN, sent again, by the other.
#
# Expected: the policy 1 (layer 4) chooses by addresses, protocol and ports, so that all packets of a connection go one
# way. That is what ECMP in front of several load balancers relies on.
# What happens: over a veth, most of the connections below are seen on both next hops. The router takes the hash that a
# packet has already if that is one of layer 4, instead of computing one from the packet. A packet from a socket of the
# same host has such a hash: a random number of the socket, and TCP draws another one when it sends something again. A
# packet from a real cable has none, so it does not happen there; a test of ECMP with containers or namespaces is
# misled. The policy 3 with the same fields (fib_multipath_hash_fields=0x37) looks at the packet, and each connection
# has one way.
# Source: fib_multipath_hash in net/ipv4/route.c, sk_rethink_txhash in include/net/sock.h.
# Version: Linux 6.18.44. It needs root, iproute2, python3 and veth; nothing is installed.
# Seen on 2026-11-29: 58 of 64 connections on both next hops with the policy 1, none with the policy 3.
set -euo pipefail

client=multipath-client-$$ router=multipath-router-$$
tmp=$(mktemp -d)
trap 'ip netns delete "$client" || true; ip netns delete "$router" || true; rm -rf "$tmp"' EXIT
ip netns add "$client"
ip netns add "$router"
ip -n "$client" link add c0 type veth peer name r0 netns "$router"
ip -n "$client" address add 198.51.100.2/24 dev c0
ip -n "$client" link set c0 up
ip -n "$client" route add default via 198.51.100.1
ip -n "$router" address add 198.51.100.1/24 dev r0
ip -n "$router" link set r0 up
for n in 1 2; do
    ip -n "$router" link add "d$n" type veth peer name "e$n"
    ip -n "$router" address add "192.0.2.$((16 * n + 1))/28" dev "d$n"
    ip -n "$router" link set "d$n" up
    ip -n "$router" link set "e$n" up
    ip -n "$router" neighbour add "192.0.2.$((16 * n + 2))" lladdr "02:00:00:00:00:0$n" dev "d$n"
done
ip -n "$router" route add 203.0.113.1 nexthop via 192.0.2.18 dev d1 nexthop via 192.0.2.34 dev d2
ip netns exec "$router" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_fields=0x37

cat >"$tmp/ports.py" <<'PYTHON'
"""Print the source port of each TCP packet that leaves by an interface, for six seconds."""
import socket
import struct
import sys
import time

packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(3))
packets.bind((sys.argv[1], 3))
packets.settimeout(0.2)
end = time.monotonic() + 6
while time.monotonic() < end:
    try:
        packet, _ = packets.recvfrom(100)
    except TimeoutError:
        continue
    if len(packet) > 22 and packet[0] == 0x45 and packet[9] == 6:
        print(struct.unpack_from("!H", packet, 20)[0])
PYTHON
cat >"$tmp/connect.py" <<'PYTHON'
"""Begin 64 connections that nobody answers. Linux sends each SYN again after one second and after three."""
import socket
import time

begun = []
for port in range(40_000, 40_064):
    begun.append(socket.socket())
    begun[-1].bind(("198.51.100.2", port))
    begun[-1].setblocking(False)
    begun[-1].connect_ex(("203.0.113.1", 80))
time.sleep(4)
PYTHON

seen=
for policy in 1 3; do
    ip netns exec "$router" sysctl -qw net.ipv4.fib_multipath_hash_policy=$policy
    for n in 1 2; do
        ip netns exec "$router" python3 "$tmp/ports.py" "d$n" >"$tmp/d$n" &
    done
    sleep 1
    ip netns exec "$client" python3 "$tmp/connect.py"
    wait
    both=$(comm -12 <(sort -u "$tmp/d1") <(sort -u "$tmp/d2") | wc -l)
    all=$(sort -u "$tmp/d1" "$tmp/d2" | wc -l)
    echo "policy $policy: $both of $all connections on both next hops"
    if ((both > all / 2)); then many=most; elif ((both)); then many=some; else many=none; fi
    seen+="policy $policy: $all connections, $many on both next hops"$'\n'
done

recorded='policy 1: 64 connections, most on both next hops
policy 3: 64 connections, none on both next hops
'

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: by ports, one connection goes both ways'
