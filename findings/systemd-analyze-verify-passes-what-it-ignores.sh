#!/usr/bin/env bash
# `systemd-analyze verify` ends with 0 for a unit whose Type= and WatchdogSec= systemd will ignore.
#
# Expected: a verification that a package build or a CI job can rely on fails where systemd would not do what the unit
# says.
# What happens: three settings in the unit below are ignored, each with a line on standard error, and the exit status
# is 0:
#  - Type=notify-reload, which came with systemd 253. Ignored, it is Type=simple: the unit is "active" at once, and a
#    reload is not waited for.
#  - WatchdogSec=10 # seconds: a comment cannot follow a value. Ignored, there is no watchdog at all.
#  - StartLimitIntervalSec= in [Service]: the key lives in [Unit].
# A unit without ExecStart= does fail, so the exit status looks useful. A test must demand that nothing was printed.
# Version: systemd 252.39-1~deb12u2 (Debian 12).
# Seen on 2026-11-28: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download systemd=252.39-1~deb12u2 libsystemd-shared=252.39-1~deb12u2 \
    libapparmor1 libcryptsetup12 libfdisk1 libip4tc2 libkmod2 libseccomp2
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$tmp/root/usr/lib/x86_64-linux-gnu/systemd:$tmp/root/lib/x86_64-linux-gnu/systemd
LD_LIBRARY_PATH+=:$tmp/root/usr/lib/x86_64-linux-gnu:$tmp/root/lib/x86_64-linux-gnu
export SYSTEMD_UNIT_PATH=$tmp/root/lib/systemd/system

cat >ignored.service <<'UNIT'
[Unit]
Description=Three of its settings are ignored

[Service]
Type=notify-reload
ExecStart=/bin/true
WatchdogSec=10 # seconds
StartLimitIntervalSec=0
UNIT
printf '[Service]\nType=notify\n' >incomplete.service

seen=$(root/usr/bin/systemd-analyze --version | head -n 1)
for unit in ignored incomplete; do
    status=0
    root/usr/bin/systemd-analyze verify --man=no "$tmp/$unit.service" >said 2>&1 || status=$?
    seen+=$'\n'"$unit.service: exit status $status"$'\n'$(grep -o 'ignoring.*' said || true)
done

recorded='systemd 252 (252.39-1~deb12u2)
ignored.service: exit status 0
ignoring: notify-reload
ignoring: 10 # seconds
ignoring.
incomplete.service: exit status 1
'

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: exit status 0, with three settings ignored'
