"""Answers `lvs-healthd ok SERVICE --control SOCKET` without the command line's libraries, which take ten times as long.

keepalived starts such a program every second. What is not plain (other options, an error) is left to the ordinary verb.
"""

import json
import socket
import sys
from typing import Any

from lvs_healthd.cli.exit_status import ExitStatus

TIMEOUT_S = 2.0
"""How long to wait for the daemon, seconds. One that takes longer is stuck."""

_PLAIN = 3
"""How many words the plain command has after the verb."""

_FOUND = b"HTTP/1.1 200 "
_MOST_BYTES = 1 << 20


def quickly(words: list[str]) -> int | None:
    """Run the verb with these words after its name. Return the exit status; None if the ordinary verb must do it."""
    if len(words) != _PLAIN or "--control" not in words[:2]:
        return None
    place = words.index("--control")
    control = words[place + 1]
    (service,) = words[:place] + words[place + 2 :]
    if service.startswith("-"):
        return None
    try:
        body = _asked(control, service)
    except TimeoutError:
        sys.stderr.write(f"lvs-healthd ok: {control}: no answer in time: the daemon is stuck\n")
        return ExitStatus.UNREACHABLE
    except OSError:
        return None
    if body is None:
        return None
    answer = json.loads(body)
    if not answer["services"]:
        return None
    sys.stdout.write(line(answer) + "\n")
    return ExitStatus.OK if answer["ok"] else ExitStatus.FAILED


def line(answer: dict[str, Any]) -> str:
    """Say on one line whether the services of an answer may serve. One that may not is named first."""
    services = answer["services"]
    first = next((each for each in services if not each["ok"]), services[0])
    bad = sum(not each["ok"] for each in services)
    more = "" if len(services) == 1 else f" ({len(services) - bad} of {len(services)} services may serve)"
    text = f"{first['service']}: {first['why']}{more}"
    return "".join([each if each.isprintable() else "?" for each in text])


def _asked(control: str, service: str) -> bytes | None:
    """Ask the daemon. Return the body of its answer; None if it has no plain answer. Raises `OSError`."""
    name = "".join([f"%{byte:02X}" for byte in service.encode("utf-8", "surrogateescape")])
    request = f"GET /api/v1/ok?service={name} HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n"
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(control)
        connection.sendall(request.encode("ascii"))
        while (piece := connection.recv(65536)) and len(answer) < _MOST_BYTES:
            answer += piece
    head, blank, body = answer.partition(b"\r\n\r\n")
    is_whole = blank and b"content-length: %d\r\n" % len(body) in head.lower() + b"\r\n"
    return body if is_whole and answer.startswith(_FOUND) else None
