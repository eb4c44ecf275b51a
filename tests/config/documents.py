"""Hypothesis strategies for valid configurations of every shape, and for documents that only resemble one."""

import string
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lvs_healthd.config import general_keys, schema

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Settings without a deadline, so that no test fails on a busy machine."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=8)
PORTS = st.integers(1, 65535)
REGEXES = st.sampled_from(["", "ok", r"\A\d+", "[\u00e9x]", r"\xff."])


def durations(least_ms: int, most_ms: int) -> st.SearchStrategy[str]:
    def spell(milliseconds: int) -> st.SearchStrategy[str]:
        seconds = f"{milliseconds // 1000}.{milliseconds % 1000:03}s"
        return st.sampled_from([f"{milliseconds}ms", seconds])

    return st.integers(least_ms, most_ms).flatmap(spell)


COMMON: dict[str, st.SearchStrategy[Any]] = {
    "interval": durations(50, 86_400_000),
    "timeout": durations(10, 3_600_000),
    "rise": st.integers(1, 1000),
    "fall": st.integers(1, 1000),
    "address": st.sampled_from(["203.0.113.7", "2001:db8::7"]),
    "port": PORTS,
}
HTTP: dict[str, st.SearchStrategy[Any]] = COMMON | {
    "proxy_protocol": st.integers(0, 2),
    "method": st.sampled_from(["GET", "POST"]),
    "path": st.sampled_from(["/", "/a?b=%20"]),
    "http_version": st.sampled_from(["1.0", "1.1", "2"]),
    "host": st.sampled_from(["", "www.example.org", "www.example.org:8080", "192.0.2.9", "[2001:db8::9]:81"]),
    "headers": st.dictionaries(st.sampled_from(["Accept", "X-Y"]), st.sampled_from(["", "text/plain; q=1"])),
    "send_body": TEXT,
    "user": st.just(""),
    "password_file": st.just(""),
    "token_file": st.just(""),
    "redirects": st.just(0),
    "requests": st.lists(st.fixed_dictionaries({}, optional={"path": st.just("/b"), "body": TEXT}), min_size=1),
    "status": st.lists(st.sampled_from(["200-299", "301", 404, "100-599"]), min_size=1),
    "expect_headers": st.dictionaries(st.sampled_from(["X-Ready", "x-y"]), st.sampled_from(["", "yes; no"])),
    "expect_headers_regex": st.dictionaries(st.sampled_from(["Server", "x-y"]), REGEXES),
    "body": TEXT,
    "body_regex": REGEXES,
    "absent": TEXT,
    "absent_regex": REGEXES,
    "digest": st.sampled_from(["", "md5:" + "0a" * 16, "SHA256:" + "Fe" * 32]),
    "json": st.dictionaries(
        st.sampled_from(["status", "a.b.0", "/x.y"]), st.sampled_from(["ok", "", True, False, 0, 1, -1, 1.0, 2.5])
    ),
    "max_body": st.integers(1, 65536),
}
HTTPS = HTTP | {"sni": st.sampled_from(["", "a.example", "192.0.2.1"]), "verify": st.booleans(), "ca": st.just("")}
STREAM: dict[str, st.SearchStrategy[Any]] = COMMON | {
    "send": TEXT.filter(bool),
    "send_hex": st.binary(min_size=1, max_size=6).map(bytes.hex),
    "expect": TEXT,
    "expect_hex": st.binary(max_size=6).map(bytes.hex),
    "expect_regex": REGEXES,
    "max_answer": st.integers(1, 65536),
}
KEYS = {
    "http": HTTP,
    "https": HTTPS,
    "tcp": STREAM | {"proxy_protocol": st.integers(0, 2)},
    "udp": STREAM | {"any_port": st.booleans()},
}


@st.composite
def checks(draw: st.DrawFn, name: str) -> dict[str, Any]:
    kind = draw(st.sampled_from([*KEYS, "redis", "ntp"]))
    keys = KEYS.get(kind, COMMON)
    if kind == "ntp":
        keys = keys | {"interval": durations(8000, 86_400_000)}  # its floor
    chosen = draw(st.lists(st.sampled_from(sorted(keys)), unique_by=lambda key: schema.CHECK_KEYS[key].group or key))
    check = {"type": kind, "name": name} | {key: draw(keys[key]) for key in chosen}
    if check.get("send_body"):
        check["method"] = "POST"
    if kind == "udp" and not {"send", "send_hex"} & check.keys():
        check["send"] = "?"
    if check.get("http_version") == "2":
        check.pop("requests", None)
    if kind == "udp" and not any(check.get(key) for key in ("expect", "expect_hex", "expect_regex")):
        check["timeout"] = draw(durations(4000, 3_600_000))  # silence is up
    return check


@st.composite
def services(draw: st.DrawFn, index: int) -> dict[str, Any]:
    is_mark = draw(st.booleans())
    identity: dict[str, Any] = {"fwmark": index + 1} if is_mark else {"address": f"192.0.2.{index + 1}:80"}
    if not is_mark and draw(st.booleans()):
        identity["protocol"] = draw(st.sampled_from(["tcp", "udp", "sctp", ["tcp", "udp"], ["udp"]]))
    if not is_mark and draw(st.booleans()):
        identity["address"] = f"198.18.{index}.1-{draw(st.sampled_from([1, 3]))}:80"
    servers: list[Any] = []
    for host in range(draw(st.integers(1, 3))):
        address = f"198.51.100.{host + 1}" + ("" if is_mark or draw(st.booleans()) else ":80")
        table = {"address": address, "weight": draw(st.integers(0, 65535)), "check": {"rise": draw(st.integers(1, 9))}}
        servers.append(draw(st.sampled_from([address, table])))
    written = [draw(checks(f"check{number}")) for number in range(draw(st.integers(1, 3)))]
    if is_mark:
        written = [{"port": 80} | check for check in written]
    options: dict[str, st.SearchStrategy[Any]] = {
        "name": st.just(f"service {index}"),
        "scheduler": st.sampled_from(schema.SCHEDULERS),
        "forward": st.sampled_from(["nat", "dr", "tun"]),
        "persistence": st.sampled_from(["0s", "300s", "1h", "744h"]),
        "scheduler_flags": st.sampled_from([[], ["flag-1"], ["flag-2", "flag-1"]]),
        "upper_threshold": st.sampled_from([0, 1000]),
        "on_failure": st.sampled_from(["remove", "quiesce"]),
        "fallback": st.just(["203.0.113.99"]),
        "source": st.sampled_from([{"file": "/etc/web.list"}, [{"file": "/etc/a.list"}, {"file": "/etc/b.list"}]]),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(options)), unique=True))
    made = identity | {"check": written, "real_server": servers} | {key: draw(options[key]) for key in chosen}
    if "source" in made:
        made["real_server"] = servers = draw(st.sampled_from([servers, []]))
        made |= {"family": "ipv4"} if is_mark else {}
    if made.get("forward") == "tun":
        made |= draw(st.sampled_from(TUNNELS))
    elif draw(st.booleans()):
        servers.append({"address": "198.51.100.9", "forward": "tun"} | draw(st.sampled_from(TUNNELS)))
    if made.get("persistence", "0s") != "0s":
        made |= draw(st.sampled_from([{}, {"persistence_mask": 24}, {"persistence_mask": "255.255.0.255"}]))
    if is_mark or made.get("protocol") in ("udp", ["udp"]):
        made["one_packet"] = draw(st.booleans())
        if made.get("persistence", "0s") != "0s":
            made["persistence_engine"] = draw(st.sampled_from(["", "sip"]))
    return made


TUNNELS: list[dict[str, Any]] = [
    {},
    {"tun_type": "ipip"},
    {"tun_type": "gre", "tun_checksum": "on"},
    {"tun_type": "gue", "tun_port": 6080, "tun_checksum": "remote"},
]


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a document that loads."""
    document: dict[str, Any] = {"service": [draw(services(index)) for index in range(draw(st.integers(1, 3)))]}
    if draw(st.booleans()):
        document["daemon"] = {
            "listen": draw(st.sampled_from(["", "127.0.0.1:1", "[::]:9880"])),
            "mode": draw(st.sampled_from(["enforce", "shadow"])),
            "resync": draw(durations(1000, 3_600_000)),
            "max_probes": draw(st.integers(1, 100_000)),
            "probe_workers": draw(st.integers(1, 64)),
        }
    if draw(st.booleans()):
        document["defaults"] = {"check": {key: draw(COMMON[key]) for key in ("interval", "timeout", "rise", "fall")}}
    return document


LEAVES = (
    st.none().map(lambda _: "")
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | TEXT
    | st.datetimes()
    | st.dates()
    | st.sampled_from(["tcp", "http", "udp", "redis", "2s", "192.0.2.1:80", "[::1]:80", "::1", "nat", "dr", "((", "61"])
    | st.sampled_from([0, 1, 80, 200])
)
ALL_KEYS = sorted(
    {"service", "daemon", "defaults", "check", *schema.SERVICE_KEYS, *schema.CHECK_KEYS, *general_keys.DAEMON_KEYS}
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ALL_KEYS) | TEXT, inner, max_size=5),
    max_leaves=20,
)


def tables(keys: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(sorted(keys)), VALUES, max_size=6)


LOOKALIKES = st.fixed_dictionaries(
    {},
    optional={
        "daemon": tables(general_keys.DAEMON_KEYS) | VALUES,
        "defaults": st.fixed_dictionaries(
            {}, optional={"check": tables(schema.CHECK_KEYS), "service": tables(schema.SERVICE_KEYS)}
        )
        | VALUES,
        "pool": st.dictionaries(TEXT | st.just("a"), tables({"real_server"}) | VALUES, max_size=2) | VALUES,
        "check": st.dictionaries(TEXT | st.just("a"), tables(schema.CHECK_KEYS) | VALUES, max_size=2) | VALUES,
        "service": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "address": st.just("192.0.2.1:80") | VALUES,
                    "fwmark": st.just(7) | VALUES,
                    "check": tables(schema.CHECK_KEYS) | st.lists(tables(schema.CHECK_KEYS), max_size=3) | VALUES,
                    "real_server": st.lists(tables(schema.REAL_SERVER_KEYS) | VALUES, max_size=3) | VALUES,
                    "pool": st.just("a") | VALUES,
                    "fallback": VALUES,
                    "forward": VALUES,
                    "name": VALUES,
                },
            )
            | VALUES,
            max_size=3,
        )
        | VALUES,
    },
)
"""Documents with valid keys in the right places, and arbitrary values."""
