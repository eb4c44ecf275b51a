#!/usr/bin/env bash
# mon loses the letter s at the end of a folder in its search path.
#
# Expected: mondir and alertdir take several folders with colons between, as the manual says, and a monitor is looked
# for in each of them.
# What happens: the path is split at the pattern "s*:s*", because the backslashes of "\s*:\s*" are lost in the string
# in which it is written. An s before a colon is taken for a blank, so "/opt/monitors:/usr/lib/mon/mon.d" is searched as
# "/opt/monitor" and "/usr/lib/mon/mon.d". The monitor is not found, and the last folder is right, which hides why.
# Version: mon 1.3.6-4 with libtime-period-perl (Debian 12).
# Seen on 2026-11-29: the lines under "recorded" below, of two folders that each hold a monitor of its own name.
set -euo pipefail

tmp=$(mktemp -d)
mon=
trap '[ -z "$mon" ] || { kill "$mon" && wait "$mon"; } 2>/dev/null || true; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download mon=1.3.6-4 libtime-period-perl
for package in *.deb; do dpkg -x "$package" root; done
export PERL5LIB=$tmp/root/usr/share/perl5

mkdir monitors plugin alert.d state log
touch auth.cf calls
for folder in monitors plugin; do
    printf '#!/bin/sh\necho "ran: %s" >>%s/calls\n' "$folder" "$tmp" >$folder/$folder.monitor
    chmod +x $folder/$folder.monitor
done

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
# Run mon for some seconds with a monitor and a search path. Print what ran, or what mon says of it.
ran() {
    : >calls
    cat >mon.cf <<CONFIG
cfbasedir = $tmp
mondir = $2
alertdir = $tmp/alert.d
statedir = $tmp/state
logdir = $tmp/log
pidfile = $tmp/mon.pid
serverbind = 127.0.0.1
trapbind = 127.0.0.1
serverport = $port
trapport = $port

hostgroup web 192.0.2.11

watch web
    service http
        interval 1s
        monitor $1
        period
            alert none.alert
CONFIG
    perl root/usr/sbin/mon -c "$tmp/mon.cf" >mon.out 2>&1 &
    mon=$!
    sleep 4
    kill "$mon" 2>/dev/null || true
    wait "$mon" 2>/dev/null || true
    mon=
    sort -u calls
}

recorded='ran: monitors
ran: plugin
ran: plugin'
seen=$(
    ran monitors.monitor "$tmp/monitors"
    ran monitors.monitor "$tmp/monitors:$tmp/plugin"
    ran plugin.monitor "$tmp/plugin:$tmp/monitors"
    ran plugin.monitor "$tmp/monitors:$tmp/plugin"
)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    cat mon.out
    exit 1
fi
echo 'as recorded: a monitor in a folder that ends in s is found alone, and not before a colon'
