"""Asks the real keepalived what it understands of files: python -m tests.importers.keepalived.understand FILE.conf ...

It writes FILE.expected.json beside each file. It needs root, keepalived, unshare (util-linux) and a C compiler.
keepalived runs its checkers in a network namespace of its own with no interface up, over a stand-in for IPVS
(`fake_ipvs.c`). It is killed as soon as it has told what it has read, before any check.
"""

import argparse
import ipaddress
import json
import os
import re
import selectors
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lvs_healthd.ipvs.kernel import genetlink
from lvs_healthd.ipvs.words import AF_INET6, METHOD_NAMES, PROTOCOL_NAMES, SVC_F_ONEPACKET, SVC_F_PERSISTENT

FAKE = Path(__file__).with_name("fake_ipvs.c")
LONGEST_S = 5.0
"""Seconds in which keepalived must have told all."""
QUIET_S = 0.8
"""Seconds of silence after which it has."""

_SHELL = ("unshare", "--net", "--pid", "--fork", "--kill-child=KILL")
_NEW_SERVICE, _NEW_DESTINATION, _SET_DESTINATION, _DELETE_DESTINATION = 1, 5, 6, 7
_WRITES = {_NEW_SERVICE, _NEW_DESTINATION, _SET_DESTINATION, _DELETE_DESTINATION}
_SCHEDULER_FLAGS = {8: "flag-1", 16: "flag-2", 32: "flag-3"}
_DUMP_OF_SERVICE = frozenset({
    "VirtualHost", "connection timeout", "delay_loop", "lvs_sched", "persistence timeout", "persistence granularity",
    "protocol", "Retry count", "Retry delay", "quorum", "Quorum up notify script", "Quorum down notify script",
    "default forwarding method", "sorry server", "quorum_state_up",
})  # fmt: skip
_DUMP_OF_SERVER = frozenset({
    "RIP", "forwarding method", "connection timeout", "Delay loop", "RS up notify script", "RS down notify script",
    "connection limit range", "Inhibit on failure is ON",
})  # fmt: skip
_PASSING = (
    "Enabled =",
    "Up =",
    "Has run =",
    "Current weight =",
    "Retries iterations =",
    "Default delay before retry =",
)
"""Lines of a check's dump that say nothing about the file."""


def main() -> None:
    """Write what keepalived understands of each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keepalived", default="keepalived", help="the program to ask")
    parser.add_argument("files", nargs="+", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fake = Path(folder, "fake_ipvs.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", fake, FAKE], check=True)
        for file in given.files:
            found = understood(given.keepalived, file, fake, Path(folder))
            file.with_suffix(".expected.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def understood(keepalived: str, file: Path, fake: Path, folder: Path) -> dict[str, Any]:
    """Return what a program understands of a file.

    fake: the library that stands in for IPVS.
    folder: where files of the run may be written.
    """
    version = subprocess.run([keepalived, "--version"], capture_output=True, text=True, check=True).stderr
    tested = subprocess.run([*_SHELL, keepalived, "-t", "-f", file], capture_output=True, check=False)
    folder = Path(tempfile.mkdtemp(dir=folder))
    log = folder / "ipvs.log"
    lines = list(_run(keepalived, file, {"FAKE_IPVS_LOG": str(log), "LD_PRELOAD": str(fake)}, folder))
    sent = [bytes.fromhex(line) for line in log.read_text(encoding="ascii").split()] if log.exists() else []
    services, checkers = _dumped(lines)
    return {
        "program": "keepalived " + version.split()[1].lstrip("v"),
        "config_test_exit_status": tested.returncode,
        "messages": list(_messages(lines, str(file))),
        "ipvs_at_start": _table(sent),
        "virtual_servers": services,
        "checkers": checkers,
    }


def _run(keepalived: str, file: Path, variables: dict[str, str], folder: Path) -> Iterator[str]:
    """Run keepalived until it is silent, and yield its lines without their times."""
    pids = ["-p", str(folder / "keepalived.pid"), "-c", str(folder / "checkers.pid")]
    command = [*_SHELL, "env", *(f"{name}={value}" for name, value in variables.items()), keepalived]
    process = subprocess.Popen(
        [*command, "-C", "-n", "-l", "-D", "-d", "-f", str(file), *pids],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = b""
    end = time.monotonic() + LONGEST_S
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < end and selector.select(QUIET_S):
            more = os.read(process.stdout.fileno(), 1 << 16)
            if not more:
                break
            output += more
    process.kill()
    process.wait()
    for line in output.decode(errors="replace").splitlines():
        yield re.sub(r"^\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}: ", "", line)


def _messages(lines: list[str], file: str) -> Iterator[str]:
    """Yield what keepalived says about the file."""
    begun = False
    for line in lines:
        if line.startswith("Initializing ipvs"):
            return
        if begun and not line.startswith(("NOTICE", "Starting ", "Script user 'keepalived_script'", "Opening file")):
            match = re.match(r"\((?:(.*): )?Line (\d+)\) (.*)", line)
            name = "" if match is None or match[1] in {None, file} else f"{Path(match[1]).name} "
            yield f"{name}line {match[2]}: {match[3]}" if match else line
        begun = begun or line.startswith("Configuration file")


def _dumped(lines: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the virtual servers and the checks of a dump."""
    services: list[dict[str, Any]] = []
    checkers: list[dict[str, Any]] = []
    part = ""
    for line in lines:
        text = line.strip()
        if text.startswith("------<"):
            part = text.strip("-<> ")
            if part == "Real server":
                services[-1]["real_servers"].append({})
        elif part == "Virtual server" and text.startswith("VS "):
            services.append({"virtual_server": text.removeprefix("VS "), "also": [], "real_servers": []})
        elif part in {"Virtual server", "Real server"}:
            name, _, value = text.partition(" = ")
            if part == "Real server":
                if name in _DUMP_OF_SERVER:
                    services[-1]["real_servers"][-1][name] = value
            elif name in _DUMP_OF_SERVICE:
                services[-1][name] = value
            elif re.match("(alpha|omega|Inhibit on failure) is ", text):
                services[-1]["also"].append(text)
        elif part == "Health checkers" and line.startswith(" "):
            if re.match(r" \[.*\]:.* -> ", line) or re.match(r" FWM? ", line):
                checkers.append({"of": text, "settings": []})
            elif checkers and not text.startswith(_PASSING):
                checkers[-1]["settings"].append(text)
    return services, checkers


def _table(sent: list[bytes]) -> list[dict[str, Any]]:
    """Return the table that messages to IPVS make."""
    table: dict[Any, dict[str, Any]] = {}
    for data in sent:
        (message,) = genetlink.messages(data)
        command = message.payload[0]
        if command not in _WRITES:
            continue
        body = _attributes(message.payload, 4)
        service = _attributes(body[1], 0)
        family = _number(service[1])
        key = tuple(service.get(kind) for kind in (1, 2, 3, 4, 5))
        if command == _NEW_SERVICE:
            table.setdefault(key, _service(family, service))
            continue
        servers = table[key]["servers"]
        server = _server(family, _attributes(body[2], 0))
        same = [one for one in servers if (one["address"], one["port"]) == (server["address"], server["port"])]
        for one in same:
            servers.remove(one)
        if command != _DELETE_DESTINATION:
            servers.append(same[0] if same and command == _NEW_DESTINATION else server)
    return list(table.values())


def _service(family: int, found: dict[int, bytes]) -> dict[str, Any]:
    flags = _number(found[7][:4])
    mark = _number(found[5]) if 5 in found else None
    is_v6 = family == AF_INET6
    mask = found.get(9, b"\xff\xff\xff\xff")
    return {
        "address": None if mark else _address(family, found[3]),
        "port": 0 if mark else int.from_bytes(found[4], "big"),
        "protocol": None if mark else PROTOCOL_NAMES[_number(found[2])],
        "fwmark": mark,
        "family": "ipv6" if is_v6 else "ipv4",
        "scheduler": found[6].rstrip(b"\0").decode(),
        "persistence_s": _number(found[8]) if flags & SVC_F_PERSISTENT else None,
        "persistence_mask": _number(mask) if is_v6 else str(ipaddress.IPv4Address(mask)),
        "persistence_engine": found[11].rstrip(b"\0").decode() if 11 in found else "",
        "one_packet": bool(flags & SVC_F_ONEPACKET),
        "scheduler_flag_bits": [bit for bit in _SCHEDULER_FLAGS if flags & bit],
        "servers": [],
    }


def _server(family: int, found: dict[int, bytes]) -> dict[str, Any]:
    own = _number(found[11]) if 11 in found else family
    made = {
        "address": _address(own, found[1]),
        "port": int.from_bytes(found[2], "big"),
        "weight": _number(found[4]),
        "forward": next(name for method, name in METHOD_NAMES.items() if method == _number(found[3])),
        "upper_threshold": _number(found[5]),
        "lower_threshold": _number(found[6]),
    }
    if 13 in found and made["forward"] == "tun":
        made["tunnel"] = [found[13][0], int.from_bytes(found.get(14, b""), "big"), _number(found.get(15, bytes(2)))]
    return made


def _attributes(data: bytes, position: int) -> dict[int, bytes]:
    spans = genetlink.attributes(data, position, len(data))
    return {kind: data[start:end] for kind, (start, end) in spans.items()}


def _number(data: bytes) -> int:
    form = {1: "=B", 2: "=H", 4: "=I"}[len(data)]
    (value,) = struct.unpack(form, data)
    return int(value)


def _address(family: int, data: bytes) -> str:
    return str(ipaddress.ip_address(data[:16] if family == AF_INET6 else data[:4]))


if __name__ == "__main__":
    main()
