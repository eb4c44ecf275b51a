#!/usr/bin/env bash
# ldirectord deletes a server that is down where its manual says that it sets the weight to 0.
#
# Expected: the manual says of `quiescent` twice that the default is "yes": a server that is down stays in the table
# with weight 0, and its connections end in their own time.
# What happens: the default is "no". Without the line the server is deleted. So a configuration that says nothing about
# it has to be carried over as "remove", against the manual.
# Version: ldirectord 1:4.12.0-2 (Debian 12). In debug mode it uses a program ./ipvsadm where there is one. The script
# puts one there that shows three services with one server each and writes down what it is told.
# Seen on 2026-11-28: the lines under "recorded" below; nothing listens on the server's port.
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

# A port on which nothing listens: it was free a moment ago.
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')

touch told
cat >ipvsadm <<PROGRAM
#!/bin/sh
if [ "\$1" = -L ]; then
    echo 'IP Virtual Server version 1.2.1 (size=4096)'
    echo 'Prot LocalAddress:Port Scheduler Flags'
    echo '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn'
    for vip in 127.0.0.2 127.0.0.3 127.0.0.4; do
        echo "TCP  \$vip:80 wrr"
        echo "  -> 127.0.0.1:$port              Masq    1      0          0"
    done
else
    echo "\$*" >>$tmp/told
fi
PROGRAM
chmod +x ipvsadm

virtual() {
    printf 'virtual=%s:80\n' "$1"
    printf '    %s\n' "real=127.0.0.1:$port masq" checktype=connect protocol=tcp "${@:2}"
}
{
    printf '%s\n' checktimeout=1 checkinterval=1 "logfile=\"$tmp/log\""
    virtual 127.0.0.2
    virtual 127.0.0.3 quiescent=yes
    virtual 127.0.0.4 quiescent=no
} >ldirectord.cf

# SIGKILL, because SIGTERM would have it delete everything.
{ timeout --signal=KILL 5 perl root/usr/sbin/ldirectord -d "$tmp/ldirectord.cf" start >debug 2>&1 || true; } 2>killed

recorded='-d -t 127.0.0.2:80 -r 127.0.0.1:PORT
-d -t 127.0.0.4:80 -r 127.0.0.1:PORT
-e -t 127.0.0.3:80 -r 127.0.0.1:PORT -m -w 0'
# Without the adoption of what is there at the start, which writes weight 1 again.
seen=$(sed -n "/ -w 1\$/d;/^-[de] /{s/:$port/:PORT/;s/ -x 0 -y 0//;p}" told | sort -u)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    tail -n 20 debug
    exit 1
fi
echo 'as recorded: -d without a line about it, as with quiescent=no; -e -w 0 only with quiescent=yes'
