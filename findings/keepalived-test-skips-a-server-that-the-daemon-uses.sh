#!/usr/bin/env bash
# keepalived's test of a configuration (-t) leaves out a real server that the daemon then uses.
#
# Expected: the test understands a file as the daemon does, so that it says what will be served.
# What happens: of a real server whose port is "80-82", the test says that it skips it, and ends with status 5. The
# daemon warns of the number, takes its beginning, and serves port 80. So a file that went into use without a test, or
# in spite of it, has a real server that nobody who reads the test's output knows of; and a program that imports such a
# file must choose which of the two it follows.
# Version: keepalived 1:2.2.7-1+b2 (Debian 12, amd64), checkers only. Needs root, for a network namespace of its own.
# IPVS is not needed: without it the daemon ends by itself, after the line that shows what it had configured.
# Seen on 2026-11-30: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download keepalived=1:2.2.7-1+b2 \
    libglib2.0-0 libmnl0 libnftnl11 libnl-3-200 libnl-genl-3-200 libnsl2 libpci3 libperl5.36 libsensors5 libsnmp40 \
    libtirpc3 libwrap0
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$PWD/root/usr/lib/x86_64-linux-gnu:$PWD/root/lib/x86_64-linux-gnu

cat >keepalived.conf <<'CONFIG'
global_defs {
    router_id finding
}
virtual_server 192.0.2.1 80 {
    delay_loop 10
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 192.0.2.11 80-82 {
        weight 1
        TCP_CHECK {
        }
    }
    real_server 192.0.2.12 80 {
        weight 1
        TCP_CHECK {
        }
    }
}
CONFIG

status=0
tested=$(root/usr/sbin/keepalived -t -f "$PWD/keepalived.conf" -n -l 2>&1) || status=$?
run=$(timeout 5 unshare --net root/usr/sbin/keepalived -C -n -l -D -f "$PWD/keepalived.conf" -p "$PWD/pid" \
    -c "$PWD/checkers.pid" 2>&1) || true
seen="test: status $status
$(grep -o 'Invalid real server.*skipping' <<<"$tested")
daemon:
$(grep -o "WARNING - invalid number.*" <<<"$run")
$(grep -o 'Shutting down service.*' <<<"$run")"

recorded="test: status 5
Invalid real server ip address/port 192.0.2.11/80-82 - skipping
daemon:
WARNING - invalid number '80-82'
Shutting down service [192.0.2.11]:tcp:80 from VS [192.0.2.1]:tcp:80
Shutting down service [192.0.2.12]:tcp:80 from VS [192.0.2.1]:tcp:80"

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    printf 'the test:\n%s\nthe daemon:\n%s\n' "$tested" "$run"
    exit 1
fi
echo 'as recorded: the test skips a real server that the daemon serves on port 80'
