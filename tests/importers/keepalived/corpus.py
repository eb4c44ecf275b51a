"""Files of keepalived with what the real program understood (`understand.py`), and how ours compare with that."""

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lvs_healthd.config.check_model import (
    AnyCheck,
    DnsCheck,
    ExecCheck,
    HttpCheck,
    HttpsCheck,
    PingCheck,
    TcpCheck,
    UdpCheck,
)
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.importers.account import Account
from lvs_healthd.importers.draft import Part, written
from lvs_healthd.importers.keepalived.carrying import parts
from lvs_healthd.importers.keepalived.files import lines_of
from lvs_healthd.importers.keepalived.reading import read
from lvs_healthd.importers.keepalived.told import Told
from lvs_healthd.importers.source import Source, source
from lvs_healthd.ipvs.records import DestinationRecord, ServiceKey
from lvs_healthd.ipvs.words import AF_INET6, METHOD_NAMES, PROTOCOL_NAMES, SVC_F_ONEPACKET, SVC_F_PERSISTENT
from lvs_healthd.plan.records import PlannedService, prepare

CORPUS = Path(__file__).parents[1] / "corpus" / "keepalived"
FILES = sorted(CORPUS.glob("*.conf"))

UNASKED = "tcp"
"""The check of servers that have none, so that a file that asks for checks can be compared."""

FLAG_BITS = 8 | 16 | 32


class Read(NamedTuple):
    """A file as it has been imported."""

    account: Account
    made: list[Part]
    config: Config
    """What is written, with a check for servers that have none."""
    unchecked: frozenset[str]
    """Addresses of servers that have none."""


def read_file(file: Path) -> Read:
    """Import a file, whether it is refused or not."""
    return read_source(source(str(file)))


def read_source(given: Source) -> Read:
    """Import a source, whether it is refused or not."""
    account = Account({given.name: lines_of(given.text)})
    configuration = read(given, account)
    made = parts(Told(account), configuration)
    unchecked = set()
    for part in (each for each in made if each.array == "service"):
        for server in part.values["real_server"]:
            if "check" not in server and "check" not in part.values:
                server["check"] = UNASKED
                unchecked.add(server["address"])
    text = written(made, given.name, "keepalived", configuration.general)
    return Read(account, made, parse(text, "imported.toml"), frozenset(unchecked))


def expectation(file: Path) -> dict[str, Any]:
    """Return what the real program understood."""
    found: dict[str, Any] = json.loads(file.with_suffix(".expected.json").read_text(encoding="utf-8"))
    return found


def services(config: Config) -> dict[tuple[Any, ...], Any]:
    """Return the services of a configuration of ours in the form in which `expected_services` returns keepalived's."""
    return {_key(service.key): _service(service) for service in prepare(config)}


def _key(key: ServiceKey) -> tuple[Any, ...]:
    if key.fwmark:
        return "fwmark", key.fwmark, "ipv6" if key.family == AF_INET6 else "ipv4"
    return key.address, key.port, PROTOCOL_NAMES[key.protocol]


def _service(service: PlannedService) -> dict[str, Any]:
    record = service.record
    mask: int | str | None = None
    if record.flags & SVC_F_PERSISTENT:
        is_v6 = record.key.family == AF_INET6
        mask = record.netmask if is_v6 else _dotted(record.netmask)
    return {
        "scheduler": record.scheduler,
        "persistence": (record.timeout, mask, record.persistence_engine) if record.timeout else None,
        "one_packet": bool(record.flags & SVC_F_ONEPACKET),
        "flags": record.flags & FLAG_BITS,
        "servers": {_server(server.record, service.key.port) for server in service.servers},
        "sorry": {_server(server.record, service.key.port)[:2] for server in service.fallback},
    }


def _dotted(netmask: int) -> str:
    if netmask < 0:
        return str(ipaddress.IPv4Address(-netmask))
    return str(ipaddress.IPv4Network(f"0.0.0.0/{netmask}").netmask)


def _server(record: DestinationRecord, service_port: int) -> tuple[Any, ...]:
    tunnel = (record.tunnel_type, record.tunnel_port, record.tunnel_flags)
    port = record.key.port or service_port
    return record.key.address, port, record.weight, METHOD_NAMES[record.forward], *thresholds(record), tunnel


def thresholds(record: DestinationRecord) -> tuple[int, int]:
    """Return the thresholds of a server."""
    return record.upper_threshold, record.lower_threshold


def expected_services(expected: dict[str, Any]) -> dict[tuple[Any, ...], Any]:
    """Return the services of keepalived's table at its start.

    A service with nobody in it yet, or with its sorry server, has `servers` None: the dump tells of its servers.
    """
    found: dict[tuple[Any, ...], Any] = {}
    sorries = {address for dumped in expected["virtual_servers"] for address in _sorry(dumped)}
    for service in expected["ipvs_at_start"]:
        mark = service["fwmark"]
        key = (
            ("fwmark", mark, service["family"]) if mark else (service["address"], service["port"], service["protocol"])
        )
        keeps_port = service["port"] or (mark and not service["persistence_s"])
        servers = {_expected(one, service["port"], bool(keeps_port)) for one in service["servers"]}
        persistence = service["persistence_s"]
        found[key] = {
            "scheduler": service["scheduler"],
            "persistence": (persistence, service["persistence_mask"], service.get("persistence_engine", ""))
            if persistence
            else None,
            "one_packet": service["one_packet"],
            "flags": sum(service["scheduler_flag_bits"]),
            "servers": {one for one in servers if one[0] not in sorries},
        }
    return found


def _expected(server: dict[str, Any], service_port: int, keeps_port: bool) -> tuple[Any, ...]:
    """Return a server. The kernel uses its port only if the service has one, or is a mark without persistence."""
    port = server["port"] if keeps_port and server["port"] else service_port
    tunnel = tuple(server.get("tunnel", (0, 0, 0)))
    limits = server["upper_threshold"], server["lower_threshold"]
    return server["address"], port, min(server["weight"], 65_535), server["forward"], *limits, tunnel


def _sorry(dumped: dict[str, Any]) -> Iterator[str]:
    if match := re.match(r"\[([^\]]*)\]", dumped.get("sorry server", "")):
        yield match[1]


def dumped_servers(expected: dict[str, Any]) -> dict[str, set[tuple[str, int, str]]]:
    """Return the servers of each virtual server in the dump: address, weight and method, by its name in the dump."""
    return {
        dumped["virtual_server"]: {
            (*_parts(server["RIP"]), server["forwarding method"].split(",")[0]) for server in dumped["real_servers"]
        }
        for dumped in expected["virtual_servers"]
    }


def _parts(text: str) -> tuple[str, int]:
    match = re.match(r"(\S+), RPORT = \d+, WEIGHT = (\d+)", text)
    assert match is not None, text
    return match[1], min(int(match[2]), 65_535)


def described(check: AnyCheck) -> dict[str, Any]:
    """Return what a check of ours does, in the words of `expected_check`."""
    found: dict[str, Any] = {
        "interval": round(check.interval * 1_000_000),
        "retries": check.fall - 1,
        "rise": check.rise,
        "delay": round(check.fast_interval * 1_000_000) if check.fall > 1 else None,
        "timeout": round(check.timeout * 1_000_000),
        "to": (check.address, check.port),
    }
    if isinstance(check, HttpCheck):
        requests = check.requests or (check,)
        found |= {
            "kind": "SSL_GET" if isinstance(check, HttpsCheck) else "HTTP_GET",
            "timeout": round(check.timeout * 1_000_000 / len(requests)),
            "urls": [_url(request) for request in requests],
            "version": check.http_version,
        }
    elif isinstance(check, DnsCheck):
        found |= {"kind": "DNS_CHECK", "query": (check.query, check.query_type, check.rcode, check.min_answers)}
    elif isinstance(check, UdpCheck):
        found |= {"kind": "UDP_CHECK", "wants": not check.is_silent}
    elif isinstance(check, ExecCheck):
        del found["to"]
        command = list(check.command)
        found |= {"kind": "MISC_CHECK", "command": [str(Path(command[0]).resolve()), *command[1:]]}
        found |= {"dynamic": check.dynamic_weight}
    elif isinstance(check, PingCheck):
        found |= {"kind": "PING_CHECK", "to": check.address}
    elif isinstance(check, TcpCheck):
        sent = [step.send for step in check.steps if step.send]
        found |= {"kind": "SMTP_CHECK", "helo": sent[0].decode().split()[1]} if sent else {"kind": "TCP_CHECK"}
    return found


def _url(request: HttpCheck) -> dict[str, Any]:
    status = [str(first) if first == last else f"{first}-{last}" for first, last in request.status]
    expression = request.body_regex or request.absent_regex
    return {
        "path": request.path,
        "status": status,
        "digest": request.digest.removeprefix("md5:"),
        "regex": re.sub(r"^\(\?[a-zA-Z-]+\)", "", expression),
        "absent": bool(request.absent_regex),
    }


def expected_check(settings: list[str]) -> dict[str, Any]:
    """Return what a check of keepalived does, from its dump."""
    values = dict(line.split(" = ", 1) for line in settings if " = " in line)
    kind = re.split(r"[ ,]", values["Keepalive method"])[0]
    found: dict[str, Any] = {
        "kind": kind,
        "interval": _microseconds(values["Delay loop"]),
        "retries": int(values["Retries"]),
        "rise": 1,
        "delay": _microseconds(values["Delay before retry"]) if "Delay before retry" in values else None,
    }
    if found["retries"] == 0:
        found["delay"] = None
    if kind == "MISC_CHECK":
        command = re.findall(r"'([^']*)'", values["script"])
        return found | {"command": command, "dynamic": values["dynamic"] == "YES", "timeout": int(values["timeout"])}
    match = re.fullmatch(r"\[(.*)\]:(\d+)", values["Dest"])
    assert match is not None
    found |= {"to": match[1] if kind == "PING_CHECK" else (match[1], int(match[2]))}
    found["timeout"] = round(float(values["Timeout"]) * 1_000_000)
    if kind in {"HTTP_GET", "SSL_GET"}:
        found |= {"urls": list(_urls(settings)), "version": values["Keepalive method"].split()[-1].rstrip("C")}
    elif kind == "DNS_CHECK":
        found["query"] = (values.get("Name", ".") or ".", values["Type"], ("NOERROR",), 0)
    elif kind == "SMTP_CHECK":
        found["helo"] = values["helo"]
    elif kind == "UDP_CHECK":
        found["wants"] = values["Require reply"] == "yes"
    return found


def _microseconds(text: str) -> int:
    return int(text.removesuffix(" us"))


def _urls(settings: list[str]) -> Iterator[dict[str, Any]]:
    url: dict[str, Any] | None = None
    for line in settings:
        name, _, value = line.partition(" = ")
        if name == "Checked url":
            if url:
                yield url
            url = {"path": value.partition("#")[0], "status": [], "digest": "", "regex": "", "absent": False}
        elif url is None:
            continue
        elif re.fullmatch(r"\d{3}(-\d{3})?", line):
            url["status"].append(line)
        elif name == "digest":
            url["digest"] = value
        elif name == "Regex":
            url["regex"] = value[1:-1]
        elif line == "Regex no match":
            url["absent"] = True
    if url:
        yield url
