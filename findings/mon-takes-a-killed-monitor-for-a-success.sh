#!/usr/bin/env bash
# mon takes a monitor that was killed by a signal for a success, and calls the upalert.
#
# Expected: a monitor that is killed before it has decided (by the kernel when memory is short, by a limit, by a
# crash) says nothing about the service, or counts as a failure. A shell would report it as 137.
# What happens: mon looks only at the exit status byte, which is 0 for a process that a signal ended. A service that
# was down is up again, and the upalert runs. Where that alert is an `ipvsadm -a`, a dead server gets traffic as long
# as its monitors are killed.
# Version: mon 1.3.6-4 with libtime-period-perl (Debian 12).
# Seen on 2026-11-28: the monitor failed once and was killed from then on; mon called the alerts under "recorded"
# below.
set -euo pipefail

tmp=$(mktemp -d)
mon=
trap '[ -z "$mon" ] || { kill "$mon" && wait "$mon"; } 2>/dev/null || true; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download mon=1.3.6-4 libtime-period-perl
for package in *.deb; do dpkg -x "$package" root; done
export PERL5LIB=$tmp/root/usr/share/perl5

mkdir mon.d alert.d state log
touch auth.cf calls
cat >mon.d/killed.monitor <<MONITOR
#!/bin/sh
if mkdir $tmp/failed-once 2>/dev/null; then
    echo 192.0.2.11
    exit 1
fi
kill -KILL \$\$
MONITOR
cat >alert.d/record.alert <<ALERT
#!/bin/sh
echo "alert: \$MON_ALERTTYPE" >>$tmp/calls
ALERT
chmod +x mon.d/killed.monitor alert.d/record.alert

port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >mon.cf <<CONFIG
cfbasedir = $tmp
mondir = $tmp/mon.d
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
        monitor killed.monitor
        period
            alert record.alert
            upalert record.alert
CONFIG

perl root/usr/sbin/mon -c "$tmp/mon.cf" >mon.out 2>&1 &
mon=$!
for _ in $(seq 100); do [ "$(wc -l <calls)" -ge 2 ] && break; sleep 0.1; done
sleep 2

recorded='alert: failure
alert: up'
seen=$(cat calls)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    cat mon.out
    exit 1
fi
echo 'as recorded: an upalert after the monitor was killed by SIGKILL'
