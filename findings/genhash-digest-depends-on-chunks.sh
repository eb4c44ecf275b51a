#!/usr/bin/env bash
# keepalived's genhash digests the framing of a chunked HTTP answer together with the page.
#
# Expected: `genhash -P 1.1` prints the MD5 of the page, whatever way the server frames it. With HTTP/1.1 a server may
# send any answer in chunks; the chunks are taken apart before the body is used (RFC 9112, 7.1).
# What happens: the chunk sizes and line ends are digested too. The same page has one digest with a Content-Length and
# another in chunks, and a third if the server cuts it elsewhere. genhash writes the digests for keepalived's
# HTTP_GET, so a `digest` taken from a server that chunks holds only as long as the server cuts the page at the same
# places.
# Version: keepalived 1:2.2.7-1+b2 (Debian 12, amd64).
# Seen on 2026-11-28: the lines under "recorded" below; the first digest is the one that md5sum prints for the page.
set -euo pipefail

tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download keepalived=1:2.2.7-1+b2 \
    libglib2.0-0 libmnl0 libnftnl11 libnl-3-200 libnl-genl-3-200 libnsl2 libpci3 libperl5.36 libsensors5 libsnmp40 \
    libtirpc3 libwrap0
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$tmp/root/usr/lib/x86_64-linux-gnu:$tmp/root/lib/x86_64-linux-gnu

cat >server.py <<'PYTHON'
import socket
import sys

ANSWERS = {
    b"/whole": b"Content-Length: 6\r\n\r\nhello\n",
    b"/one-chunk": b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n",
    b"/two-chunks": b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n4\r\nllo\n\r\n0\r\n\r\n",
}

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    path = connection.recv(4096).split()[1]
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n" + ANSWERS[path])
    connection.close()
PYTHON
python3 server.py >port &
server=$!
for _ in $(seq 50); do [ -s port ] && break; sleep 0.1; done

recorded="md5sum: b1946ac92492d2347c6235b4d2611184
/whole: b1946ac92492d2347c6235b4d2611184
/one-chunk: 8aea47faa8ff765544508726bbcd3b9d
/two-chunks: 331731e2064603cb8b278fe4132247ad"

seen="md5sum: $(printf 'hello\n' | md5sum | cut -d ' ' -f 1)"
for path in /whole /one-chunk /two-chunks; do
    digest=$(timeout 10 root/usr/bin/genhash -s 127.0.0.1 -p "$(cat port)" -u "$path" -P 1.1 -t 3)
    seen+=$(printf '\n%s: %s' "$path" "$digest")
done

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: one page, three digests'
