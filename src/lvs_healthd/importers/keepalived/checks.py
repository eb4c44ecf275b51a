"""Turns the checks of keepalived into ours, as tables of the configuration."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from lvs_healthd.importers.keepalived.http_checks import http
from lvs_healthd.importers.keepalived.records import SECOND, Checker, Configuration, RealServer, VirtualServer
from lvs_healthd.importers.keepalived.times import SILENT_TIMEOUT, duration, times
from lvs_healthd.importers.keepalived.told import Told

_PAYLOAD = ("keepalived check - " * 2)[:32]
"""What keepalived sends without a payload (`set_buf` of layer4.c)."""
_DEFAULT_HELO = "smtpchecker.keepalived.org"
_MOST_REPEATED = 1000
"""How often an expression of RE2 may repeat something."""
_FILE_INTERVAL = duration(2 * SECOND)


class Probed(NamedTuple):
    """A check with what it belongs to."""

    checker: Checker
    server: RealServer
    service: VirtualServer
    configuration: Configuration


def checks(
    told: Told, configuration: Configuration, service: VirtualServer, server: RealServer, port: int
) -> list[dict[str, Any]]:
    """Return the checks of a real server.

    port: the port that the server has in the new configuration; 0 if it has none.
    """
    made: list[dict[str, Any]] = []
    for checker in server.checkers:
        check = _MAKERS[checker.kind](told, Probed(checker, server, service, configuration))
        if check is None:
            continue
        name = check["type"]
        same = sum(1 for other in made if other["type"] == name)
        named = {"name": f"{name} {same + 1}"} if same else {}
        made.append({"type": name, **named, **_where(checker, server, port, name), **check})
    return made


def _where(checker: Checker, server: RealServer, port: int, kind: str) -> dict[str, Any]:
    """Return where a probe goes and where it leaves, unless that is the server and nothing special."""
    if kind == "exec":
        return {}
    values: dict[str, Any] = {}
    if checker.address and checker.address != server.address:
        values["address"] = str(checker.address)
    if checker.port and checker.port != port and kind != "ping":
        values["port"] = checker.port
    exits = {"source": checker.source, "interface": checker.interface, "mark": checker.mark}
    return values | {name: value for name, value in exits.items() if value}


def _tcp(told: Told, probed: Probed) -> dict[str, Any]:
    return {"type": "tcp", **_times(told, probed)}


def _times(told: Told, probed: Probed, shortest: int = 0) -> dict[str, Any]:
    timeout = probed.checker.pace.connect_timeout or 0
    return times(told, probed.checker, timeout, shortest=shortest) if shortest else times(told, probed.checker, timeout)


def _ping(told: Told, probed: Probed) -> dict[str, Any]:
    return {"type": "ping", **_times(told, probed)}


def _http(told: Told, probed: Probed) -> dict[str, Any] | None:
    return http(told, probed.checker, probed.server, probed.service, probed.configuration)


def _dns(told: Told, probed: Probed) -> dict[str, Any]:
    checker = probed.checker
    query = {"query": checker.query or ".", "query_type": checker.query_type, "min_answers": 0}
    return {"type": "dns", **_times(told, probed), **query}


def _smtp(told: Told, probed: Probed) -> dict[str, Any]:
    """Make the conversation of SMTP_CHECK: it takes an answer of one line, and any answer to QUIT."""
    steps = [
        {"expect_regex": r"\A220( [^\n]*)?\r?\n"},
        {"send": f"HELO {probed.checker.helo or _DEFAULT_HELO}\r\n"},
        {"expect_regex": r"\A250( [^\n]*)?\r?\n"},
        {"send": "QUIT\r\n"},
        {"expect_regex": r"\n"},
    ]
    return {"type": "tcp", **_times(told, probed), "steps": steps}


def _udp(told: Told, probed: Probed) -> dict[str, Any]:
    udp = probed.checker.udp
    sent = {"send_hex": udp.payload} if udp.payload else {"send": _PAYLOAD}
    if not udp.is_required:
        return {"type": "udp", **_times(told, probed, SILENT_TIMEOUT), **sent}
    expected = r"\A"
    if udp.reply:
        digits = udp.reply.split()
        if udp.reply_node:
            told.noted(
                udp.reply_node, "keepalived takes a shorter reply too if it begins like this; here it must be whole"
            )
        expected += "".join(_byte(pair) for pair in digits) + _rest(udp.least - len(digits), udp.most - len(digits))
    longest = {"max_answer": udp.most + 1} if udp.reply else {}
    return {"type": "udp", **_times(told, probed), **sent, "expect_regex": expected, **longest}


def _byte(pair: str) -> str:
    """Return an expression for a byte, in which `?` is any digit."""
    if "?" not in pair:
        return f"\\x{pair}"
    if pair == "??":
        return "."
    high, low = ("0123456789abcdef" if digit == "?" else digit for digit in pair)
    return "[" + "".join(f"\\x{first}{second}" for first in high for second in low) + "]"


def _rest(least: int, most: int) -> str:
    """Return an expression for what follows the bytes that are compared."""
    if most < 0:
        return r"\A.\z"  # keepalived never takes it
    return f".{{{min(max(least, 0), _MOST_REPEATED)},{min(most, _MOST_REPEATED)}}}\\z"


def _misc(told: Told, probed: Probed) -> dict[str, Any] | None:
    checker = probed.checker
    node = checker.command_node or checker.node
    program = checker.command[0]
    if not program.startswith("/"):
        told.refused(node, f"keepalived looks for {program} in its PATH; which is its absolute path?")
        return None
    if not os.access(program, os.X_OK):
        told.account.dropped(
            node.place,
            f"{program} cannot be executed here; where it cannot, keepalived drops the check, and all is up",
        )
    timeout = checker.misc_timeout * SECOND or probed.service.pace.delay_loop or 0
    dynamic = {"dynamic_weight": True} if checker.is_dynamic else {}
    command = {"command": list(checker.command), "convention": "keepalived", **dynamic}
    return {"type": "exec", **times(told, checker, timeout), **command}


def _file(told: Told, probed: Probed) -> dict[str, Any] | None:
    checker = probed.checker
    tracked = probed.configuration.files.get(checker.track_file)
    if tracked is None or not tracked.file:
        told.refused(checker.node, f"keepalived has no track_file {checker.track_file} here, and drops the check")
        return None
    weight = tracked.weight if checker.file_weight is None else checker.file_weight
    if weight:
        told.dropped(
            checker.node,
            f"keepalived adds {weight} times the number in {tracked.file} to the weight; let an agent or a dynamic exec"
            " check say the weight, or `lvs-healthd weight`",
        )
        return None
    told.dropped(
        checker.node,
        f"keepalived takes a {tracked.file} that is missing or no number for healthy, and follows it at once; the check"
        f" below looks every {_FILE_INTERVAL}, and wants a line 0",
    )
    command = ["/usr/bin/grep", "-qx", "0", tracked.file]
    return {
        "type": "exec", "interval": _FILE_INTERVAL, "rise": 1, "fall": 1, "command": command, "convention": "keepalived"
    }  # fmt: skip


def _bfd(told: Told, probed: Probed) -> None:
    told.dropped(
        probed.checker.node, "there is no BFD; write a ping check with a short interval, or keep bfd in the router"
    )


_MAKERS: dict[str, Callable[[Told, Probed], dict[str, Any] | None]] = {
    "TCP_CHECK": _tcp,
    "PING_CHECK": _ping,
    "HTTP_GET": _http,
    "SSL_GET": _http,
    "DNS_CHECK": _dns,
    "SMTP_CHECK": _smtp,
    "UDP_CHECK": _udp,
    "MISC_CHECK": _misc,
    "FILE_CHECK": _file,
    "BFD_CHECK": _bfd,
}
