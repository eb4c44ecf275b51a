#!/usr/bin/env bash
# ldirectord's checks of POP3 and FTP pass although nothing listens on the server's port.
#
# Expected: `checktype=negotiate` asks more of a server than `checktype=connect`. So a server whose port is closed is
# down by both.
# What happens: without `login` (POP3), or without `receive` (FTP), the negotiating check is up in any case. For POP3
# the client library does not connect before it has a name to log in with, and ldirectord takes the object for a
# connection. For FTP the error of the connection is caught, and what was fetched, nothing, is matched against an empty
# pattern. Both configurations are accepted without a warning.
# Version: ldirectord 1:4.12.0-2 and libmail-pop3client-perl 2.21-2 (Debian 12). In debug mode ldirectord uses a program
# ./ipvsadm where there is one. The script puts one there that shows services without servers.
# Seen on 2026-11-29: the lines under "recorded" below: how ldirectord left the server of each service.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download ldirectord=1:4.12.0-2 libmail-pop3client-perl=2.21-2 \
    libclone-perl libencode-locale-perl libfile-listing-perl libhtml-parser-perl libhtml-tagset-perl libhtml-tree-perl \
    libhttp-cookies-perl libhttp-date-perl libhttp-message-perl libhttp-negotiate-perl libio-html-perl \
    libio-socket-inet6-perl liblwp-mediatypes-perl libmailtools-perl libnet-http-perl libregexp-ipv6-perl \
    libsocket6-perl libtimedate-perl libtry-tiny-perl liburi-perl libwww-perl libwww-robotrules-perl
for package in *.deb; do dpkg -x "$package" root; done
export PERL5LIB=$tmp/root/usr/share/perl5:$tmp/root/usr/lib/x86_64-linux-gnu/perl5/5.36 PERLIO=perlio

# A port on which nothing listens: it was free a moment ago. Each service has its own address of the loopback network
# for its server, because ldirectord checks servers that look the same to it only once.
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

cat >ipvsadm <<'PROGRAM'
#!/bin/sh
[ "$1" = -L ] || exit 0
echo 'IP Virtual Server version 1.2.1 (size=4096)'
echo 'Prot LocalAddress:Port Scheduler Flags'
echo '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn'
for vip in 127.0.0.2:110 127.0.0.3:110 127.0.0.4:110 127.0.0.5:21 127.0.0.6:21; do echo "TCP  $vip wrr"; done
PROGRAM
chmod +x ipvsadm

virtual() {
    printf 'virtual=%s\n' "$1"
    local host=${1%:*}
    printf '    %s\n' "real=127.0.1.${host##*.}:$port masq" protocol=tcp "${@:2}"
}
{
    printf '%s\n' checktimeout=1 negotiatetimeout=1 checkinterval=1 quiescent=no "logfile=\"$tmp/log\""
    virtual 127.0.0.2:110 service=pop checktype=connect
    virtual 127.0.0.3:110 service=pop checktype=negotiate
    virtual 127.0.0.4:110 service=pop checktype=negotiate 'login="checker"' 'passwd="secret"'
    virtual 127.0.0.5:21 service=ftp checktype=negotiate 'request="welcome.txt"'
    virtual 127.0.0.6:21 service=ftp checktype=negotiate 'request="welcome.txt"' 'receive="hello"'
} >ldirectord.cf

# SIGKILL, because SIGTERM would have it delete everything.
{ timeout --signal=KILL 8 perl root/usr/sbin/ldirectord -d "$tmp/ldirectord.cf" start >debug 2>&1 || true; } 2>killed

recorded='127.0.0.2:110 Disabled
127.0.0.3:110 Enabled
127.0.0.4:110 Disabled
127.0.0.5:21 Enabled
127.0.0.6:21 Disabled'
# What it said last of each.
seen=$(sed -nE 's/^DEBUG2: (Enabled|Disabled) .*\(virtual=tcp:(.*)\)$/\2 \1/p' debug | tac | sort -u -k1,1 -s)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    tail -n 20 debug
    exit 1
fi
echo 'as recorded: with a closed port, POP3 without login and FTP without receive are up; else, and by connect, down'
