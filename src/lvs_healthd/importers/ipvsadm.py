"""Reads ipvsadm commands, from saved files or scripts, into a table.

It accepts more than what `ipvsadm -Sn` writes: the word ipvsadm before a command, comments, long options, options in
any order, edits and deletions, and names of hosts and services. Option names and defaults follow ipvsadm 1.31,
ipvsadm.c.
"""

import ipaddress
import re
import shlex
import socket
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, ServiceRecord, Table
from lvs_healthd.ipvs.words import (
    AF_INET,
    AF_INET6,
    CHECKSUM_OPTIONS,
    IPPROTO_UDP,
    METHOD_OPTIONS,
    PROTOCOL_OPTIONS,
    SCHEDULER_FLAGS,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    TUNNELS,
    ForwardingMethod,
    scheduler_flag_names,
)
from lvs_healthd.runtime.exceptions import InputError

_PROTOCOLS = {option: protocol for protocol, option in PROTOCOL_OPTIONS.items()}
_METHODS = {option: method for method, option in METHOD_OPTIONS.items()}
_TUNNEL_FLAGS = {option: flags for flags, option in CHECKSUM_OPTIONS.items()}
_LISTED = re.compile(r"IP Virtual Server version |Prot LocalAddress:Port|\s*-> |(?:TCP|UDP|SCTP|FWM)\s")
"""A line of `ipvsadm -Ln`."""
_DEFAULT_PERSISTENCE_S = 300
_MOST_DIGITS = 20
_SHOWN = 80

_LONG = {
    "--add-service": "-A",
    "--edit-service": "-E",
    "--delete-service": "-D",
    "--clear": "-C",
    "--add-server": "-a",
    "--edit-server": "-e",
    "--delete-server": "-d",
    "--tcp-service": "-t",
    "--udp-service": "-u",
    "--fwmark-service": "-f",
    "--scheduler": "-s",
    "--persistent": "-p",
    "--netmask": "-M",
    "--ops": "-o",
    "--sched-flags": "-b",
    "--real-server": "-r",
    "--gatewaying": "-g",
    "--ipip": "-i",
    "--masquerading": "-m",
    "--weight": "-w",
    "--u-threshold": "-x",
    "--l-threshold": "-y",
    "--ipv6": "-6",
    "--numeric": "-n",
}
_COMMANDS = frozenset({"-A", "-E", "-D", "-C", "-a", "-e", "-d"})
_WITH_VALUE = frozenset(
    {*_PROTOCOLS, "-f", "-s", "-M", "--pe", "-b", "-r", "-w", "-x", "-y", "--tun-type", "--tun-port"}
)
_WITHOUT_VALUE = frozenset({"-o", *_METHODS, "-6", "-n", *_TUNNEL_FLAGS})


class CommandError(InputError):
    """Raised when some lines are not ipvsadm commands, or make a change that the table does not allow.

    `errors` holds one text for each wrong line.
    """

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class _WrongLineError(Exception):
    """Raised when a line is wrong. The message says why."""


class _Command(NamedTuple):
    verb: str
    options: dict[str, str]


def table_of(lines: Iterable[str], name: str) -> Table:
    """Carry out ipvsadm commands on an empty table, and return the resulting table.

    lines: lines with one command each.
    name: name of the file, for error messages.

    Raises `CommandError`, which lists every wrong line.
    """
    table: Table = {}
    errors: list[str] = []
    for number, line in enumerate(lines, 1):
        if _LISTED.match(line):
            text = (
                f"{name}:{number}: this is a listing for people, as `ipvsadm -Ln` prints it; give what `ipvsadm -Sn` "
                "writes: ipvsadm -Sn | lvs-healthd import ipvsadm -"
            )
            raise CommandError((text,))
        try:
            command = _command(line)
            if command is not None:
                _do(table, command)
        except _WrongLineError as error:
            errors.append(f"{name}:{number}: {error}")
    if errors:
        raise CommandError(tuple(errors))
    return table


def _command(line: str) -> _Command | None:
    if "\0" in line:
        raise _WrongLineError("it holds a NUL byte")
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise _WrongLineError(f"not a command line: {error}") from None
    if words and words[0].rpartition("/")[2] == "ipvsadm":
        del words[0]
    if not words:
        return None
    verb, options = "", {}
    while words:
        word = words.pop(0)
        option, value = _split(word)
        if value is not None and option not in _WITH_VALUE | {"-p"} and not word.startswith("--"):
            words.insert(0, f"-{value}")  # short options in one word: -At
            value = None
        if option in _COMMANDS and value is None:
            if verb:
                raise _WrongLineError(f"two commands in one line: {verb} and {option}")
            verb = option
        elif option == "-p":
            if value is None:
                has_value = words and words[0].isdecimal()
                value = words.pop(0) if has_value else str(_DEFAULT_PERSISTENCE_S)
            options[option] = value
        elif option == "-b" and value is None and not words:
            pass  # ipvsadm itself writes -b without a value when a flag is set that has no name
        elif option in _WITH_VALUE:
            if value is None and not words:
                raise _WrongLineError(f"{option} without a value")
            options[option] = words.pop(0) if value is None else value
        elif option in _WITHOUT_VALUE and value is None:
            options[option] = ""
        else:
            raise _WrongLineError(f"{option} is not understood here")
    if not verb:
        raise _WrongLineError("no command: expected -A, -E, -D, -C, -a, -e or -d")
    return _Command(verb, options)


def _split(word: str) -> tuple[str, str | None]:
    """Split "--weight=5" or "-w5" into an option and its value. A long option is replaced by its short name, if any."""
    if word.startswith("--"):
        name, has_value, value = word.partition("=")
        return _LONG.get(name, name), value if has_value else None
    if not word.startswith("-") or len(word) == 1:
        raise _WrongLineError(f"{word!r} is not an option")
    return word[:2], word[2:] or None


def _do(table: Table, command: _Command) -> None:
    verb, options = command
    if verb == "-C":
        table.clear()
        return
    key = _service_key(options)
    entry = table.get(key)
    if verb in {"-A", "-E"}:
        record = _service(key, options)
        if (entry is None) is (verb == "-E"):
            raise _WrongLineError(f"service {key} {'does not exist' if entry is None else 'exists already'}")
        if entry is None:
            table[key] = ServiceEntry(record, {})
        else:
            entry.service = record
        return
    if entry is None:
        raise _WrongLineError(f"service {key} does not exist; add it first (-A)")
    if verb == "-D":
        del table[key]
        return
    server = _server(key, options)
    exists = server.key in entry.destinations
    if exists is (verb == "-a"):
        raise _WrongLineError(f"server {server.key} {'exists already' if exists else 'does not exist'} in {key}")
    if verb == "-d":
        del entry.destinations[server.key]
    else:
        entry.destinations[server.key] = server


def _service_key(options: dict[str, str]) -> ServiceKey:
    given = [option for option in (*_PROTOCOLS, "-f") if option in options]
    if len(given) != 1:
        raise _WrongLineError("expected one service: -t, -u, --sctp-service or -f")
    option = given[0]
    if option == "-f":
        family = AF_INET6 if "-6" in options else AF_INET
        return ServiceKey(family, fwmark=_mark(options))
    protocol = _PROTOCOLS[option]
    family, address, port = _endpoint(options[option], protocol, default_port=0)
    return ServiceKey(family, protocol, address, port)


def _service(key: ServiceKey, options: dict[str, str]) -> ServiceRecord:
    scheduler = options.get("-s", "wlc")
    names = {*scheduler_flag_names(scheduler), *scheduler_flag_names("")}
    flags = SVC_F_PERSISTENT if "-p" in options else 0
    flags |= SVC_F_ONEPACKET if "-o" in options else 0
    for name in filter(None, options.get("-b", "").split(",")):
        if name not in names:
            raise _WrongLineError(f"scheduler {scheduler} has no flag {name!r}")
        flags |= SCHEDULER_FLAGS[name]
    return ServiceRecord(
        key,
        scheduler,
        flags=flags,
        timeout=_number(options, "-p", 0, 2**31 - 1) if "-p" in options else 0,
        netmask=_netmask(key.family, options.get("-M")),
        persistence_engine=options.get("--pe", ""),
    )


def _netmask(family: int, text: str | None) -> int:
    bits = 128 if family == AF_INET6 else 32
    if text is None:
        return bits
    if family == AF_INET6:
        return _number({"-M": text}, "-M", 1, bits)
    try:
        mask = int(ipaddress.IPv4Address(text))
    except ValueError:
        raise _WrongLineError(f"-M: expected a mask such as 255.255.255.0, got {text!r}") from None
    ones = mask.bit_count()
    return ones if mask == 0xFFFFFFFF << (bits - ones) & 0xFFFFFFFF else -mask


def _server(service: ServiceKey, options: dict[str, str]) -> DestinationRecord:
    if "-r" not in options:
        raise _WrongLineError("expected a real server: -r")
    family, address, port = _endpoint(options["-r"], service.protocol, default_port=service.port)
    forward = next((method for option, method in _METHODS.items() if option in options), ForwardingMethod.DROUTE)
    if forward is not ForwardingMethod.MASQ and not service.fwmark:
        port = service.port  # ipvsadm: only -m maps ports
    kind = options.get("--tun-type", "ipip")
    if kind not in TUNNELS:
        raise _WrongLineError(f"--tun-type: expected ipip, gue or gre, got {kind!r}")
    record = DestinationRecord(
        DestinationKey(family, address, port),
        forward,
        _number(options, "-w", 0, 2**31 - 1) if "-w" in options else 1,
        upper_threshold=_number(options, "-x", 0, 2**31 - 1) if "-x" in options else 0,
        lower_threshold=_number(options, "-y", 0, 2**31 - 1) if "-y" in options else 0,
    )
    if forward is not ForwardingMethod.TUNNEL:
        return record
    return msgspec.structs.replace(
        record,
        tunnel_type=TUNNELS[kind],
        tunnel_port=_number(options, "--tun-port", 1, 65535) if "--tun-port" in options else 0,
        tunnel_flags=next((flags for option, flags in _TUNNEL_FLAGS.items() if option in options), 0),
    )


def _number(options: dict[str, str], option: str, least: int, most: int) -> int:
    text = options[option]
    if not _is_number(text) or not least <= int(text) <= most:
        raise _WrongLineError(f"{option}: expected {least}..{most}, got {_cut(text)!r}")
    return int(text)


def _mark(options: dict[str, str]) -> int:
    """Read a firewall mark. ipvsadm writes marks of 2^31 and above as negative numbers."""
    text = options["-f"]
    if text.startswith("-") and _is_number(text[1:]) and 0 < int(text[1:]) <= 2**31:
        return 2**32 - int(text[1:])
    return _number(options, "-f", 1, 2**32 - 1)


def _is_number(text: str) -> bool:
    # int() accepts digits of any script, and raises for more than a few thousand digits.
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _endpoint(text: str, protocol: int, *, default_port: int) -> tuple[int, str, int]:
    """Read an endpoint such as "192.0.2.1:80", "[2001:db8::1]:http" or "www:80". A name is looked up at once."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port_text = rest.removeprefix(":")
    elif text.count(":") > 1:
        host, port_text = text, ""
    else:
        host, _, port_text = text.partition(":")
    family, address = _canonical(host) or _looked_up(host)
    return family, address, _port(port_text, protocol) if port_text else default_port


def _canonical(host: str) -> tuple[int, str] | None:
    family = AF_INET6 if ":" in host else AF_INET
    try:
        return family, socket.inet_ntop(family, socket.inet_pton(family, host))
    except (OSError, UnicodeEncodeError):
        return None


def _looked_up(host: str) -> tuple[int, str]:
    try:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise _WrongLineError(f"{_cut(host)!r} is neither an IP address nor a name that can be looked up") from None
    return int(family), str(address[0])


def _port(text: str, protocol: int) -> int:
    if _is_number(text) and int(text) <= 65535:  # a port has 16 bits
        return int(text)
    if text.isdecimal():
        raise _WrongLineError(f"expected a port of 0..65535, got {_cut(text)!r}")
    try:
        return socket.getservbyname(text, "udp" if protocol == IPPROTO_UDP else "tcp")
    except OSError:
        raise _WrongLineError(f"{_cut(text)!r} is neither a port nor a known service name") from None
