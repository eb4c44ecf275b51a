"""What is known of each program that the pages name: whether its words can be right."""

import fnmatch
import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import typer

from lvs_healthd import cli
from lvs_healthd.api import app
from lvs_healthd.events.kinds import EVENTS
from tests.docs.pages import REPOSITORY

Words = Sequence[str]

MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
ENDPOINTS = {"/", *re.findall(r"^(/\S+)", app._INDEX, re.MULTILINE)}
OWN_UNITS = {path.stem for path in (REPOSITORY / "systemd").iterdir() if path.suffix in (".service", ".socket")}
UNITS = OWN_UNITS | {"keepalived", "ldirectord", "mon", "nginx"}
USAGE_ERROR = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
"""What typer raises when the words of a command are wrong."""

ACTIONS = {
    *("start", "stop", "restart", "try-restart", "reload", "status", "enable", "disable", "edit", "kill"),
    *("daemon-reload", "reset-failed", "list-units"),
}
FIELDS = {"LVS_EVENT": {event.name for event in EVENTS}, "LVS_SERVICE": None, "LVS_SERVER": None}


def healthd(words: Words) -> str:
    """Let the real command line read a command of lvs-healthd. Return what it says against it."""
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb not in cli.VERBS:
        return "" if list(words) == ["--version"] else f"no verb {verb!r}"
    group = typer.main.get_command(cli.app(verb))
    group.commands[verb].callback = _nothing  # type: ignore[attr-defined]
    try:
        group.main(list(words), standalone_mode=False)
    except USAGE_ERROR as error:
        return error.format_message()
    return ""


def _nothing(**_: object) -> None:
    """Stand in for the verb, of which only the command line is wanted."""


def make(words: Words) -> str:
    wrong = [word for word in words if "=" not in word and word not in TARGETS]
    variables = [word.partition("=")[0] for word in words if "=" in word]
    wrong += [each for each in variables if not re.search(rf"\$\({each}\)", MAKEFILE)]
    return f"make knows no {wrong}" if wrong else ""


def curl(words: Words) -> str:
    for word in words:
        found = urlsplit(word)
        if found.netloc in ("127.0.0.1:9880", "control") and found.path not in ENDPOINTS:
            return f"no endpoint {found.path}"
    return ""


def journalctl(words: Words) -> str:
    for word, after in zip(words, [*words[1:], ""], strict=True):
        field, equals, value = word.partition("=")
        if equals and field.startswith("LVS_"):
            if field not in FIELDS:
                return f"no line has a field {field}"
            names = FIELDS[field]
            if names is not None and value not in names:
                return f"no event is called {value}"
        if word == "-u" and after not in UNITS:
            return f"no unit {after}"
    return ""


def systemctl(words: Words) -> str:
    action, *units = [word for word in words if not word.startswith("-")]
    wrong = [unit for unit in units if unit.rpartition(".")[0] not in UNITS and unit not in UNITS]
    return f"no unit {wrong}" if wrong else "" if action in ACTIONS else f"systemctl does not {action}"


def python(words: Words) -> str:
    if words[0] == "-m" and importlib.util.find_spec(words[1]) is None:
        return f"no module {words[1]}"
    return ""


def sysctl(words: Words) -> str:
    settings = [word for word in words if word not in ("-w", "--system", "-n")]
    wrong = [word for word in settings if not re.fullmatch(r"net\.(ipv4|ipv6|netfilter)\.[\w.]+=\d+", word)]
    return f"no setting: {wrong}" if wrong else ""


def birdc(words: Words) -> str:
    """An order that birdc gives BIRD is one word of the shell, with quotation marks around a pattern."""
    order = re.fullmatch(r'(disable|enable) "([\w*]+)"', words[0] if len(words) == 1 else "")
    protocols = re.findall(
        r"^protocol bgp (\w+)", (REPOSITORY / "examples/anycast-bird.conf").read_text(), re.MULTILINE
    )
    known = order is not None and fnmatch.filter(protocols, order[2])
    return "" if known else f"birdc does not understand {words}, or no protocol of the example is meant"


def anything(words: Words) -> str:
    return ""


KNOWN: dict[str, Callable[[Words], str]] = {
    "lvs-healthd": healthd,
    "make": make,
    "curl": curl,
    "journalctl": journalctl,
    "systemctl": systemctl,
    "python": python,
    "python3": python,
    "sysctl": sysctl,
    "birdc": birdc,
    **dict.fromkeys(
        (
            *(
                "adduser",
                "apt",
                "cat",
                "chronyc",
                "df",
                "echo",
                "editor",
                "etcdctl",
                "grep",
                "install",
                "ip",
                "iptables",
            ),
            *("ipvsadm", "jq", "ldirectord", "ln", "ls", "lsmod", "nft", "openssl", "pip", "pipx", "pytest", "rm"),
            *("runuser", "sed", "socat", "sort", "systemd-analyze", "systemd-cgtop", "systemd-sysusers", "tcpdump"),
            *("timedatectl", "touch", "uniq", "userdel"),
        ),
        anything,
    ),
}
"""Programs by name. Those that only Debian knows are named here, so that a slip of the pen is found."""

_OURS = re.compile(r"(docs|examples|systemd|requirements|tests|bench|packaging|lab)/[\w./*-]*[\w*]")


def missing_files(words: Words) -> list[str]:
    """Return the files of this repository that are named and do not exist."""
    named = [word for word in words if _OURS.fullmatch(word)]
    return [word for word in named if not any(REPOSITORY.glob(word))]


def problem(words: Words) -> str:
    """Say what is wrong with a command; "" if nothing is known to be."""
    program = Path(words[0]).name
    if program not in KNOWN:
        return f"{program} is not known: add it to tests/docs/known.py, with what can be wrong with its words"
    if missing := missing_files(words):
        return f"no such file: {missing}"
    return KNOWN[program](words[1:])
