#!/usr/bin/env bash
# ExaBGP keeps a route announced after the process that announced it has died.
#
# Expected: a route lives no longer than the health checker that announces it over ExaBGP's process API. A checker
# that dies can no longer say "withdraw", so its death takes the route away, and anycast traffic goes elsewhere.
# What happens: ExaBGP starts the process again and keeps the route. While the new one says nothing (it has not
# checked yet, or waits for something), the route stays. A checker must withdraw first thing when it starts.
# Versions: ExaBGP 5.0.15 (PyPI), BIRD 2.0.12-7 (Debian 12) as the peer, on loopback.
# Seen on 2026-11-28: the process announced a route and died, was started again, and 10 s later BIRD still had the
# route. When ExaBGP itself ended, the route was gone.
set -euo pipefail

tmp=$(mktemp -d)
bird= exabgp=
stop() { [ -z "$1" ] || { kill "$1" && wait "$1"; } 2>/dev/null || true; }
trap 'stop "$exabgp"; stop "$bird"; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download bird2=2.0.12-7 libssh-gcrypt-4
for package in *.deb; do dpkg -x "$package" root; done
python3 -m venv venv
venv/bin/pip -qq --disable-pip-version-check install exabgp==5.0.15

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >bird.conf <<CONFIG
router id 192.0.2.1;
protocol device { }
protocol bgp exabgp {
    local 127.0.0.1 port $port as 65001;
    neighbor 127.0.0.2 as 65000;
    multihop;
    passive;
    ipv4 { import all; export none; };
}
CONFIG
cat >check <<CHECK
#!/bin/sh
echo started >>$tmp/starts
if [ "\$(wc -l <$tmp/starts)" -gt 1 ]; then exec sleep 60; fi
echo "announce route 203.0.113.10/32 next-hop self"
sleep 3
exit 1
CHECK
chmod +x check
touch starts
cat >exabgp.conf <<CONFIG
process check {
    run $tmp/check;
    encoder text;
}
neighbor 127.0.0.1 {
    router-id 192.0.2.2;
    local-address 127.0.0.2;
    local-as 65000;
    peer-as 65001;
    api { processes [ check ]; }
}
CONFIG

export LD_LIBRARY_PATH=$tmp/root/usr/lib/x86_64-linux-gnu
root/usr/sbin/bird -f -c bird.conf -s "$tmp/bird.ctl" -P "$tmp/bird.pid" >bird.log 2>&1 &
bird=$!
for _ in $(seq 50); do [ -S bird.ctl ] && break; sleep 0.1; done
env exabgp.tcp.port="$port" exabgp.daemon.user="$(id -un)" exabgp.api.cli=false \
    venv/bin/exabgp exabgp.conf >exabgp.log 2>&1 &
exabgp=$!

route() { root/usr/sbin/birdc -s bird.ctl show route | grep -qF 203.0.113.10/32 && echo present || echo absent; }
for _ in $(seq 150); do [ "$(route)" = present ] && break; sleep 0.1; done
seen="announced: $(route)"
for _ in $(seq 150); do [ "$(wc -l <starts)" -ge 2 ] && break; sleep 0.1; done
sleep 10
seen+=$'\n'"process started $(wc -l <starts) times, 10 s after its death: $(route)"
stop "$exabgp"
exabgp=
for _ in $(seq 50); do [ "$(route)" = absent ] && break; sleep 0.1; done
seen+=$'\n'"ExaBGP ended: $(route)"

recorded='announced: present
process started 2 times, 10 s after its death: present
ExaBGP ended: absent'

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    tail -n 20 exabgp.log bird.log
    exit 1
fi
echo 'as recorded: the route outlives the process that announced it, and ends with ExaBGP'
