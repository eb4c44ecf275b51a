#!/usr/bin/env bash
# keepalived takes a track_file that is empty, holds no number or is deleted for the value 0, which means "healthy".
#
# Expected: a VRRP instance that tracks a file with weight 0 is in FAULT for every value but 0. Where the file says
# nothing, because its writer died between truncating and writing, or was removed, the last value holds or the
# instance is in FAULT.
# What happens: each of the three ends the fault. The instance becomes master, though the last value written was 1. A
# program that removes the file when it ends hands the address to a node that has just said it cannot serve. So: write
# another file and rename it over this one, never delete it, and set `init_file 1` for the start.
# Version: keepalived 1:2.2.7-1+b2 (Debian 12, amd64), VRRP only. Needs root, for a network namespace of its own.
# Seen on 2026-11-28: the lines under "recorded" below; a healthy instance is master after some 4 s.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download keepalived=1:2.2.7-1+b2 \
    libglib2.0-0 libmnl0 libnftnl11 libnl-3-200 libnl-genl-3-200 libnsl2 libpci3 libperl5.36 libsensors5 libsnmp40 \
    libtirpc3 libwrap0
for package in *.deb; do dpkg -x "$package" root; done

cat >keepalived.conf <<CONFIG
global_defs {
    router_id finding
}
track_file serves {
    file "$tmp/serves"
    weight 0
    init_file 1
}
vrrp_instance V {
    state BACKUP
    interface v0
    virtual_router_id 5
    priority 100
    advert_int 1
    track_file {
        serves
    }
    virtual_ipaddress {
        192.0.2.1/32
    }
}
CONFIG

cat >in-namespace <<'SCRIPT'
set -euo pipefail
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip address add 192.0.2.5/24 dev v0

LD_LIBRARY_PATH=$PWD/root/usr/lib/x86_64-linux-gnu:$PWD/root/lib/x86_64-linux-gnu \
    root/usr/sbin/keepalived -P -n -l -f "$PWD/keepalived.conf" -p "$PWD/pid" -r "$PWD/vrrp.pid" >keepalived.log 2>&1 &
keepalived=$!
trap '{ kill "$keepalived" && wait "$keepalived"; } 2>/dev/null || true' EXIT

holds() { ip -brief address show dev v0 | grep -qF 192.0.2.1/32 && echo yes || echo no; }
# look WHAT ADDRESS-WANTED: waits up to 8 s for it, then prints what there is.
look() {
    for _ in $(seq 80); do [ "$(holds)" = "$2" ] && break; sleep 0.1; done
    echo "$1: master $(holds)"
}
fault() { echo 1 >new && mv new serves && look 1 no; }

for _ in $(seq 50); do [ -s serves ] && break; sleep 0.1; done
sleep 5
look 'at the start, init_file 1' no
echo 0 >new && mv new serves
look 0 yes
fault
: >serves
look empty yes
fault
echo serving >serves
look 'no number' yes
fault
rm serves
look deleted yes
SCRIPT
seen=$(unshare --net bash in-namespace)

recorded='at the start, init_file 1: master no
0: master yes
1: master no
empty: master yes
1: master no
no number: master yes
1: master no
deleted: master yes'

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    cat keepalived.log
    exit 1
fi
echo 'as recorded: empty, no number and deleted all end a fault'
