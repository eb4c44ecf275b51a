"""States of a director that pictures in the documentation show, of the page and of the terminal."""

import time

import msgspec

from lvs_healthd.view.hold_values import BrakeStatus
from lvs_healthd.view.status_values import DaemonStatus, RealServerStatus, ServiceStatus, Status
from tests import statuses


def well(*down: int) -> Status:
    """Two services with six real servers. Those of these numbers are down."""
    servers = [_server(number, is_down=number in down) for number in range(6)]
    return Status(daemon=_daemon(), services=(_service("web", *servers[:4]), _service("dns", *servers[4:])))


def braked() -> Status:
    """The same while a network fails, and the brake keeps its servers."""
    brake = BrakeStatus(way="eth1", silent=5, targets=6, since=time.time() - 20, cause="eth1 has no carrier")
    return msgspec.structs.replace(well(0), daemon=msgspec.structs.replace(_daemon(), brakes=(brake,)))


def ten_thousand() -> Status:
    """A hundred services of a hundred real servers, one of each down."""
    services = tuple(
        _service(f"s{at:03}", *(_server(at * 100 + number, is_down=number == at % 100) for number in range(100)))
        for at in range(100)
    )
    return Status(daemon=_daemon(), services=services)


def _server(number: int, *, is_down: bool = False) -> RealServerStatus:
    since = time.time() - 600
    name = f"198.51.{number // 250}.{number % 250 + 1}:80"
    if is_down:
        found = statuses.real_server(name, "down", "http: no answer in 1s", since=since, weights=(1, None, None))
    else:
        found = statuses.real_server(name, since=since, latency_s=0.001 * (1 + number % 7))
    checks = tuple(msgspec.structs.replace(each, target=name) for each in found.checks)
    return msgspec.structs.replace(found, checks=checks)


def _service(name: str, *servers: RealServerStatus) -> ServiceStatus:
    lacks = all(each.verdict == "down" for each in servers)
    return statuses.service(name, *servers, in_fallback=lacks)


def _daemon() -> DaemonStatus:
    now = time.time()
    return msgspec.structs.replace(statuses.daemon(), started=now - 7200, config_loaded=now - 3600, last_resync=now - 3)
