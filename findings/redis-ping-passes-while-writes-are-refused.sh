#!/usr/bin/env bash
# Redis answers PING with PONG while it refuses every write for want of replicas.
#
# Expected: PING fails whenever the server refuses writes by its own rules. It does so after a failed save: PING
# itself is then answered with the error MISCONF, so a check by PING looks complete.
# What happens: with min-replicas-to-write set and too few replicas connected, every write fails with NOREPLICAS, and
# PING still says PONG. That is the state of a master cut off from its replicas, from which a checker should take
# traffic away. A check has to read min_slaves_good_slaves in `INFO replication`, or to write a key.
# Version: Redis 7.0.15 (redis-server and redis-tools 5:7.0.15-1~deb12u10, Debian 12).
# Seen on 2026-11-28: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
server=
# SIGKILL, because nothing of it is to be saved.
trap '[ -z "$server" ] || { kill -KILL "$server" && wait "$server"; } 2>/dev/null || true; rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download redis-server=5:7.0.15-1~deb12u10 redis-tools=5:7.0.15-1~deb12u10 \
    libatomic1 libhiredis0.14 libjemalloc2 liblua5.1-0 liblzf1
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH=$tmp/root/usr/lib/x86_64-linux-gnu

mkdir data
root/usr/bin/redis-server --port 0 --unixsocket "$tmp/redis.sock" --dir "$tmp/data" --save "3600 1" \
    --min-replicas-to-write 1 >redis.log 2>&1 &
server=$!
ask() { timeout 5 root/usr/bin/redis-cli -s "$tmp/redis.sock" "$@" 2>&1 | sed -n '1s/^\([A-Z]*\).*/\1/p'; }
for _ in $(seq 50); do [ -S redis.sock ] && break; sleep 0.1; done

seen="no replica, of 1 needed: SET $(ask set key value), PING $(ask ping)"
ask config set min-replicas-to-write 0 >/dev/null
seen+=$'\n'"none needed: SET $(ask set key value), PING $(ask ping)"
rmdir data
ask bgsave >/dev/null
for _ in $(seq 50); do [ "$(ask ping)" = MISCONF ] && break; sleep 0.1; done
seen+=$'\n'"after a failed save: SET $(ask set key value), PING $(ask ping)"

recorded='no replica, of 1 needed: SET NOREPLICAS, PING PONG
none needed: SET OK, PING PONG
after a failed save: SET MISCONF, PING MISCONF'

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: NOREPLICAS for SET and PONG for PING; a failed save shows in both'
