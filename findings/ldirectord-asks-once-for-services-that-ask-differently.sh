#!/usr/bin/env bash
# ldirectord checks two services by one question though they are configured to ask differently.
#
# Expected: two virtual services whose servers are on the same machine, one asked by GET and the other by HEAD, are
# checked by one GET and one HEAD each time. The same goes for two databases of one server, or two accounts.
# What happens: ldirectord checks a server only once for all services whose check "is the same", and compares protocol,
# address, port, virtualhost, checkport, weight, method, request and receive. httpmethod is not among these, nor are
# login, passwd, database and secret. The first service's question answers for the other one, which is never asked.
# Version: ldirectord 1:4.12.0-2 (Debian 12). In debug mode it uses a program ./ipvsadm where there is one. The script
# puts one there that shows services without servers.
# Seen on 2026-11-29: the lines under "recorded" below. The server answers GET with 200 and HEAD with 501; alone, the
# service with HEAD is down, and beside the one with GET it is up.
set -euo pipefail

tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download ldirectord=1:4.12.0-2 \
    libclone-perl libencode-locale-perl libfile-listing-perl libhtml-parser-perl libhtml-tagset-perl libhtml-tree-perl \
    libhttp-cookies-perl libhttp-date-perl libhttp-message-perl libhttp-negotiate-perl libio-html-perl \
    libio-socket-inet6-perl liblwp-mediatypes-perl libmailtools-perl libnet-http-perl libregexp-ipv6-perl \
    libsocket6-perl libtimedate-perl libtry-tiny-perl liburi-perl libwww-perl libwww-robotrules-perl
for package in *.deb; do dpkg -x "$package" root; done
export PERL5LIB=$tmp/root/usr/share/perl5:$tmp/root/usr/lib/x86_64-linux-gnu/perl5/5.36 PERLIO=perlio

cat >server.py <<'PROGRAM'
import http.server
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    """Knows GET and nothing else."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"well")

    def log_message(self, form, *words):
        print(self.command, flush=True)


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, file=sys.stderr, flush=True)
server.serve_forever()
PROGRAM
python3 server.py >>asked 2>port &
server=$!
until [ -s port ]; do sleep 0.1; done
port=$(cat port)

cat >ipvsadm <<'PROGRAM'
#!/bin/sh
[ "$1" = -L ] || exit 0
echo 'IP Virtual Server version 1.2.1 (size=4096)'
echo 'Prot LocalAddress:Port Scheduler Flags'
echo '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn'
for vip in 127.0.0.2:80 127.0.0.3:80; do echo "TCP  $vip wrr"; done
PROGRAM
chmod +x ipvsadm

virtual() {
    printf 'virtual=%s\n' "$1"
    printf '    %s\n' "real=127.0.0.1:$port masq" protocol=tcp service=http checktype=negotiate \
        'request="status"' 'receive="well"' "httpmethod=$2"
}
# Run it for some seconds with these services. Print how it left the server of each, and the methods it asked by.
left() {
    printf '%s\n' checktimeout=2 negotiatetimeout=2 checkinterval=1 quiescent=no "logfile=\"$tmp/log\"" >ldirectord.cf
    cat >>ldirectord.cf
    : >asked
    # SIGKILL, because SIGTERM would have it delete everything.
    { timeout --signal=KILL 8 perl root/usr/sbin/ldirectord -d "$tmp/ldirectord.cf" start >debug 2>&1 || true; } \
        2>killed
    sed -nE 's/^DEBUG2: (Enabled|Disabled) .*\(virtual=tcp:(.*)\)$/\2 \1/p' debug | tac | sort -u -k1,1 -s
    sort -u asked
}

recorded='127.0.0.3:80 Disabled
HEAD
127.0.0.2:80 Enabled
127.0.0.3:80 Enabled
GET'
seen=$(
    virtual 127.0.0.3:80 HEAD | left
    { virtual 127.0.0.2:80 GET && virtual 127.0.0.3:80 HEAD; } | left
)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    tail -n 20 debug
    exit 1
fi
echo 'as recorded: a service that is asked by HEAD is down alone, and up without a question beside one asked by GET'
