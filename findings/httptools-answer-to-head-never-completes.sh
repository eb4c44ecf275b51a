#!/usr/bin/env bash
# httptools never reports the end of an answer to a HEAD request.
#
# Expected: a parser for HTTP answers can be told that the request was HEAD. Such an answer carries the Content-Length
# of the body that GET would have brought, but ends with its headers (RFC 9110, 9.3.2), and on_message_complete is
# called.
# What happens: HttpResponseParser has no way to be told. After the headers it waits for the body that will not come,
# and a checker that waits for on_message_complete times out on every healthy server. The parser knows only the
# statuses that never have a body: it ends a 204 or a 304 with a Content-Length at once. llhttp, the C library inside,
# lets its caller skip the body by the return value of on_headers_complete; what the Python callback returns goes
# nowhere. So a checker that offers HEAD has to take the headers for the end by itself, and to use a new parser for
# each answer.
# Version: httptools 0.9.0, Python 3.11.
# Seen on 2026-11-28: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -qq --disable-pip-version-check install httptools==0.9.0

recorded='204 No Content: headers, complete
304 Not Modified: headers, complete
200 OK, answer to HEAD: headers'

seen=$("$tmp/venv/bin/python" - <<'PYTHON'
import httptools


class Events:
    def __init__(self):
        self.seen = []

    def on_headers_complete(self):
        self.seen.append("headers")
        return 1  # in llhttp: this message has no body

    def on_message_complete(self):
        self.seen.append("complete")


def parse(title, received):
    events = Events()
    httptools.HttpResponseParser(events).feed_data(received)
    print(f"{title}: {', '.join(events.seen)}")


for title in ("204 No Content", "304 Not Modified", "200 OK, answer to HEAD"):
    status = title.partition(",")[0]
    parse(title, f"HTTP/1.1 {status}\r\nContent-Length: 12\r\n\r\n".encode())
PYTHON
)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: no on_message_complete after the headers of a 200 that answers HEAD'
