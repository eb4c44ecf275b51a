"""Reads files of ldirectord in tests, without a look at this machine's names."""

import ipaddress
from pathlib import Path
from typing import Any

import tomli
import tomli_w

from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.importers import ldirectord
from lvs_healthd.importers.account import Fate, Place
from lvs_healthd.importers.ldirectord import Reading
from lvs_healthd.importers.source import Source
from lvs_healthd.ipvs.words import AF_INET6

CORPUS = Path(__file__).parents[1] / "corpus" / "ldirectord"
NAME = "ldirectord.cf"
PORTS = {
    ("http", "tcp"): 80,
    ("www", "tcp"): 80,
    ("https", "tcp"): 443,
    ("https", "udp"): 443,
    ("smtp", "tcp"): 25,
    ("domain", "tcp"): 53,
    ("domain", "udp"): 53,
}


class Names:
    """Knows the hosts of a file, and a few ports."""

    def __init__(self, hosts: dict[str, str] | None = None) -> None:
        self._hosts = hosts or {}

    def host(self, name: str, family: int) -> str | None:
        try:
            address = ipaddress.ip_address(self._hosts.get(name, name))
        except ValueError:
            return None
        return str(address) if (address.version == 6) is (family == AF_INET6) else None

    def port(self, name: str, protocol: str) -> int | None:
        return PORTS.get((name, protocol or "tcp"))


def read(text: str, hosts: dict[str, str] | None = None) -> Reading:
    """Read a file with this text."""
    return ldirectord.read(Source(NAME, text, Path("/")), Names(hosts))


def read_file(file: Path) -> Reading:
    """Read a file of the corpus. Its lines bear the name `NAME`."""
    hosts = file.with_suffix(".hosts")
    lines = hosts.read_text(encoding="utf-8").splitlines() if hosts.exists() else []
    return read(file.read_bytes().decode(), {line.split()[1]: line.split()[0] for line in lines})


def refused(reading: Reading) -> set[int]:
    """Return the numbers of the lines that are refused."""
    return lines_with(reading, Fate.REFUSED)


def lines_with(reading: Reading, fate: Fate, most: int = 200) -> set[int]:
    """Return the numbers of the lines that have a fate, among the first `most`."""
    return {number for number in range(1, most) if fate in reading.account.fates(Place(NAME, number))}


def remarks(reading: Reading) -> str:
    """Return all that is told."""
    return "\n".join(reading.account.remarks())


def services(reading: Reading) -> list[dict[str, Any]]:
    """Return the services as the written text has them."""
    found: list[dict[str, Any]] = tomli.loads(reading.text)["service"]
    return found


def config(reading: Reading) -> Config:
    """Return the written configuration. A service whose check is missing gets one that only connects."""
    document = tomli.loads(reading.text)
    for service in document.get("service", ()):
        has_own = any("check" in server for server in service["real_server"] if isinstance(server, dict))
        if "check" not in service and not has_own:
            service["check"] = {"type": "tcp", "port": 9}
    return parse(tomli_w.dumps(document), "printed")


def check_of(body: str, *, virtual: str = "192.0.2.1:80", real: str = "198.51.100.1:80 masq") -> dict[str, Any]:
    """Return the check of the only server of a virtual with these lines."""
    reading = read(f"virtual={virtual}\n\treal={real}\n" + "".join(f"\t{line}\n" for line in body.splitlines()))
    (service,) = services(reading)
    assert service.get("check"), remarks(reading)
    config(reading)
    found: dict[str, Any] = service["check"]
    return found


def asked(body: str, *, virtual: str = "192.0.2.1:80", real: str = "198.51.100.1:80 masq") -> str:
    """Return what is asked about a virtual with these lines, for which no check is written."""
    reading = read(f"virtual={virtual}\n\treal={real}\n" + "".join(f"\t{line}\n" for line in body.splitlines()))
    (service,) = services(reading)
    assert "check" not in service
    assert "# A check is missing: " in reading.text
    assert not reading.account.is_lossless
    return remarks(reading)
