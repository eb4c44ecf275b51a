#!/usr/bin/env bash
# A share that HAProxy's agent-check asks for is cut off to whole weights, so that a small one takes the server out.
#
# Expected: an agent that answers "10%" wants a tenth of its server's traffic, and a server that is up keeps some.
# What happens: of a server with `weight 5`, "10%" makes the weight 0, so the server gets no new connections,
# though its agent asked for something. The same words mean a tenth if all weights are multiplied by 20. The default
# weight is 1, of which every share below 100% is 0.
# Versions: HAProxy 2.6.12-1+deb12u4 (Debian 12), on loopback.
# Seen on 2026-11-28: "10%" of weight 100 is 10; of weight 5 it is 0, and "19%" too; "20%" is 1; of weight 1, "99%" is 0.
set -euo pipefail

tmp=$(mktemp -d)
haproxy= agent=
stop() { [ -z "$1" ] || { kill "$1" && wait "$1"; } 2>/dev/null || true; }
trap 'stop "$haproxy"; stop "$agent"; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download haproxy=2.6.12-1+deb12u4 liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$tmp/root/usr/lib/x86_64-linux-gnu

cat >agent.py <<'PYTHON'
import socketserver, sys
from pathlib import Path

class Agent(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(Path("says").read_bytes())

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

with Server(("127.0.0.1", 0), Agent) as server:
    Path("port").write_text(str(server.server_address[1]))
    server.serve_forever()
PYTHON
echo "up ready 100%" >says
python3 agent.py &
agent=$!
for _ in $(seq 50); do [ -s port ] && break; sleep 0.1; done
cat >haproxy.cfg <<CONFIG
global
    stats socket $tmp/socket
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
backend web
    server hundred 127.0.0.1:9 weight 100 agent-check agent-port $(cat port) agent-inter 200ms
    server five 127.0.0.1:9 weight 5 agent-check agent-port $(cat port) agent-inter 200ms
    server one 127.0.0.1:9 weight 1 agent-check agent-port $(cat port) agent-inter 200ms
CONFIG
root/usr/sbin/haproxy -db -f haproxy.cfg >haproxy.log 2>&1 &
haproxy=$!
for _ in $(seq 50); do [ -S socket ] && break; sleep 0.1; done

weights() {
    python3 - <<'PYTHON'
import socket

told = socket.socket(socket.AF_UNIX)
told.connect("socket")
told.sendall(b"show stat\n")
lines = told.makefile().read().splitlines()
names = lines[0].removeprefix("# ").split(",")
rows = [dict(zip(names, line.split(","))) for line in lines[1:] if line.startswith("web,")]
print(" ".join(row["weight"] for row in rows if row["svname"] != "BACKEND"))
PYTHON
}

seen=
for share in 100 20 19 10 99; do
    echo "up ready $share%" >says.new && mv says.new says
    sleep 2
    seen+="$share%: $(weights)"$'\n'
done

recorded='100%: 100 5 1
20%: 20 1 0
19%: 19 0 0
10%: 10 0 0
99%: 99 4 0
'
if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    tail -n 20 haproxy.log
    exit 1
fi
echo 'as recorded: a small share of a small weight is weight 0'
