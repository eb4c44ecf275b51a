#!/usr/bin/env bash
# ldirectord takes a virtual service's address without a port for a firewall mark: the address's first number.
#
# Expected: `virtual=192.0.2.10` without a port is refused, or means all ports of the address.
# What happens: it is read as the firewall mark 192. ldirectord adds a service for that mark, to which no packet
# belongs, and none for the address. It writes no warning. Whoever carries such a file over has to ask what was meant.
# Version: ldirectord 1:4.12.0-2 (Debian 12). In debug mode it uses a program ./ipvsadm where there is one. The script
# puts one there that shows an empty table and writes down what it is told.
# Seen on 2026-11-28: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download ldirectord=1:4.12.0-2 \
    libclone-perl libencode-locale-perl libfile-listing-perl libhtml-parser-perl libhtml-tagset-perl libhtml-tree-perl \
    libhttp-cookies-perl libhttp-date-perl libhttp-message-perl libhttp-negotiate-perl libio-html-perl \
    libio-socket-inet6-perl liblwp-mediatypes-perl libmailtools-perl libnet-http-perl libregexp-ipv6-perl \
    libsocket6-perl libtimedate-perl libtry-tiny-perl liburi-perl libwww-perl libwww-robotrules-perl
for package in *.deb; do dpkg -x "$package" root; done
export PERL5LIB=$tmp/root/usr/share/perl5:$tmp/root/usr/lib/x86_64-linux-gnu/perl5/5.36 PERLIO=perlio

touch told
cat >ipvsadm <<PROGRAM
#!/bin/sh
if [ "\$1" = -L ]; then
    echo 'IP Virtual Server version 1.2.1 (size=4096)'
    echo 'Prot LocalAddress:Port Scheduler Flags'
    echo '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn'
else
    echo "\$*" >>$tmp/told
fi
PROGRAM
chmod +x ipvsadm

cat >ldirectord.cf <<CONFIG
checkinterval=1
logfile="$tmp/log"
virtual=192.0.2.10
    real=198.51.100.11:80 gate
    scheduler=rr
    checktype=on
CONFIG

# SIGKILL, because SIGTERM would have it delete everything.
{ timeout --signal=KILL 5 perl root/usr/sbin/ldirectord -d "$tmp/ldirectord.cf" start >debug 2>&1 || true; } 2>killed

recorded='-A -f 192 -s rr
-a -f 192 -r 198.51.100.11:80 -g -w 1'
seen=$(sed 's/ -x 0 -y 0//;s/ *$//' told | grep -E '^-[Aa] ' | sort -u || true)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    tail -n 20 debug
    exit 1
fi
if grep -qiE 'warn|error' debug log 2>/dev/null; then
    echo 'changed; it says something now:'
    grep -hiE 'warn|error' debug log
    exit 1
fi
echo 'as recorded: virtual=192.0.2.10 is the firewall mark 192, without a warning'
