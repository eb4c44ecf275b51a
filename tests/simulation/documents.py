"""The configuration file of a simulated site, and what an operator may change in it."""

import copy
import random
from typing import Any

import tomli_w

HOSTS = ("10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.2.0.1", "10.2.0.2", "10.2.0.3", "10.1.0.9")
"""The machines. Those with the numbers 4 to 6 are behind the far interface. The last one may only be a fallback."""
REAL = len(HOSTS) - 1
"""How many of them may be real servers."""

_DIRECTOR, _SPARE = "192.0.2.9:80", "10.1.0.9:80"

_ADDRESSES: tuple[dict[str, object], ...] = (
    {"name": "web", "address": "192.0.2.1:80"},
    {"name": "tls", "address": "192.0.2.1:443"},
    {"name": "dns", "address": "192.0.2.2:53", "protocol": "udp"},
    {"name": "mark", "fwmark": 7, "family": "ipv4"},
)
NAMES = tuple(str(each["name"]) for each in _ADDRESSES)
KEYS = ("192.0.2.1:80/tcp", "192.0.2.1:443/tcp", "192.0.2.2:53/udp", "fwmark 7")
"""How the kernel's keys of the services are written."""
PORTS = (80, 443, 53, 80)

TCP, HTTP, AGENT = "tcp", "http", "agent"
CHECKS = (TCP, HTTP, AGENT)
_CHECK_PORTS = {TCP: 80, HTTP: 8080, AGENT: 5000}
_SETS = ((TCP,), (HTTP,), (TCP, HTTP), (TCP, AGENT), (AGENT,))

TIMEOUT_S = 1.0
INTERVAL_S = 2.0
RESYNC_S = 10.0
LONGEST_S = 60.0
"""How long the brake may last, seconds."""
WITHIN_S = 10.0

Document = dict[str, Any]

BROKEN = '[[service]]\nname = "web"\naddress = 80\n'
"""A file with an error."""


def first(chooser: random.Random) -> Document:
    """Return a configuration to begin with."""
    document: Document = {"resync": RESYNC_S, "brake": True, "services": {}}
    for number in range(len(NAMES)):
        if number == 0 or chooser.random() < 0.6:
            document["services"][number] = _service(chooser)
    return document


def _service(chooser: random.Random) -> dict[str, Any]:
    hosts = chooser.sample(range(REAL), chooser.randint(1, 4))
    return {
        "servers": {host: chooser.choice((1, 1, 2, 20, 0)) for host in hosts},
        "fallback": chooser.choice((None, None, 0, 0, 1, 2, 3)),
        "min_up": chooser.choice((None, None, 2, 50, (2, 1), "5+2")),
        "below": chooser.choice((None, None, "fail_open", "fallback", "none")),
        "slow_start": chooser.choice((0, 0, 0, 20)),
        "checks": chooser.choice((*_SETS, (TCP,), (TCP,))),
        "rise": chooser.choice((1, 2, 2, 3)),
        "fall": chooser.choice((1, 2, 3, 3)),
        "quiesce": chooser.random() < 0.3,
        "damping": chooser.choice((None, None, None, (2, 60, 30), (3, 120, 600))),
        "keep": chooser.random() < 0.15,
        "shadow": chooser.random() < 0.08,
        "brake": chooser.random() < 0.85,
    }


EDITS = (
    *("server", "server", "drop_server", "drop_server", "weight", "weight", "rise", "fall", "checks", "quiesce"),
    *("damping", "fallback", "keep", "shadow", "brake", "order", "service", "drop_service"),
    *("min_up", "below", "slow_start"),
)
"""What `edited` can do. A word that stands here twice is chosen twice as often."""


def edited(document: Document, what: str, number: int, host: int, value: int) -> Document:
    """Return the configuration with one change.

    number: the service. One that is not configured is left as it is, unless it is to be added.
    value: what is set, as far as `what` needs it.
    """
    new = copy.deepcopy(document)
    services = new["services"]
    if what == "service":
        services.setdefault(number, _service(random.Random(value)))
        return new
    if number not in services:
        return new
    service = services[number]
    match what:
        case "drop_service":
            if len(services) > 1:
                del services[number]
        case "server" if host < REAL:
            service["servers"].setdefault(host, (1, 2, 20, 0)[value % 4])
        case "drop_server":
            if len(service["servers"]) > 1:
                service["servers"].pop(host, None)
        case "weight":
            if host in service["servers"]:
                service["servers"][host] = (0, 1, 2, 3, 20, 50)[value % 6]
        case "rise" | "fall":
            service[what] = 1 + value % 4
        case "checks":
            service["checks"] = _SETS[value % len(_SETS)]
        case "quiesce" | "keep" | "shadow" | "brake":
            service[what] = bool(value % 2)
        case "damping":
            service["damping"] = (None, (2, 60, 30), (3, 120, 600), (2, 20, 5))[value % 4]
        case "fallback":
            service["fallback"] = (None, 0, 1, 2, 3)[value % 5]
        case "min_up":
            service["min_up"] = (None, 2, 3, 50, (2, 1), "5+2")[value % 6]
        case "below":
            service["below"] = (None, "fail_open", "fallback", "none")[value % 4]
        case "slow_start":
            service["slow_start"] = (0, 20, 60)[value % 3]
        case "order":
            chooser = random.Random(value)
            for each in (services, service["servers"]):
                items = list(each.items())
                chooser.shuffle(items)
                each.clear()
                each.update(items)
    return new


def text(document: Document) -> str:
    """Write the configuration as TOML."""
    daemon = {"resync": f"{document['resync']:g}s", "listen": ""}
    brake = {"longest": f"{LONGEST_S:g}s", "within": f"{WITHIN_S:g}s"}
    services = [_written(number, service) for number, service in document["services"].items()]
    return tomli_w.dumps({"daemon": daemon, "brake": brake, "service": services})


def _written(number: int, service: dict[str, Any]) -> dict[str, object]:
    damping = service["damping"]
    return {
        **_ADDRESSES[number],
        "on_failure": "quiesce" if service["quiesce"] else "remove",
        "foreign_servers": "keep" if service["keep"] else "remove",
        "mode": "shadow" if service["shadow"] else "enforce",
        "brake": service["brake"],
        "damping": False
        if damping is None
        else dict(zip(("falls", "window", "longest"), (damping[0], f"{damping[1]}s", f"{damping[2]}s"), strict=True)),
        "check": [_check(kind, service) for kind in service["checks"]],
        "fallback": _fallback(service),
        **_floor(service),
        "real_server": [
            {"address": f"{HOSTS[host]}:{PORTS[number]}", "weight": weight}
            for host, weight in service["servers"].items()
        ],
    }


def _check(kind: str, service: dict[str, Any]) -> dict[str, object]:
    return {
        "type": kind,
        "name": kind,
        "port": _CHECK_PORTS[kind],
        "interval": f"{INTERVAL_S:g}s",
        "timeout": f"{TIMEOUT_S:g}s",
        "rise": service["rise"],
        "fall": service["fall"],
    }


def _fallback(service: dict[str, Any]) -> list[Any]:
    """Return the fallback servers: none, the director, a machine, or one that is checked before the director."""
    checked = {"address": _SPARE, "check": [_check(TCP, service)]}
    made: dict[int | None, list[Any]] = {
        None: [],
        0: [_DIRECTOR],
        1: [_SPARE],
        2: [checked],
        3: [checked, {"address": _DIRECTOR, "tier": 2}],
    }
    return made[service["fallback"]]


def _floor(service: dict[str, Any]) -> dict[str, object]:
    """Return how many must serve, as far as that fits the rest."""
    written: dict[str, object] = {}
    min_up, below, slow_start = service["min_up"], service["below"], service["slow_start"]
    servers = len(service["servers"])
    if isinstance(min_up, int):
        written["min_up"] = f"{min_up}%" if min_up > REAL else min(min_up, servers)
    elif isinstance(min_up, tuple):
        count = min(min_up[0], servers)
        written["min_up"] = {"count": count, "hysteresis": min(min_up[1], count - 1)}
    elif min_up is not None and not slow_start:
        weight, _, hysteresis = min_up.partition("+")
        written["min_up"] = {"weight": int(weight), "hysteresis": int(hysteresis)}
    if below is not None and not (below == "fallback" and service["fallback"] is None):
        written["below"] = below
    if slow_start:
        written["slow_start"] = f"{slow_start}s"
    return written
