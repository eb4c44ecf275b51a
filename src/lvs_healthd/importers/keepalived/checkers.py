"""Reads the checks of a real server from their blocks."""

import re
from collections.abc import Callable

from lvs_healthd.importers.keepalived import urls
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.pacing import read_pace
from lvs_healthd.importers.keepalived.records import Checker
from lvs_healthd.importers.keepalived.told import MissingWordError, Told
from lvs_healthd.importers.keepalived.words import Address, address

_HTTP = frozenset({"HTTP_GET", "SSL_GET"})
_MOST_MISC_TIMEOUT_S = 0xFFFF_FFFF // 1_000_000
_MOST_LENGTH = 0xFFFF
_MOST_FILE_WEIGHT = 0x7FFF_FFFF
_LONGEST_INTERFACE = 15
_QUERY_TYPES = frozenset(["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"])
_PROTOCOLS = {"1.0": "1.0", "1.0C": "1.0", "1.0c": "1.0", "1.1": "1.1"}


def checker(told: Told, node: Node, server: Address) -> Checker | None:
    """Read a check. None if keepalived drops it, which is told.

    server: the address of the real server.
    """
    found = Checker(node.keyword, node, family=server.version)
    for child in node.nodes:
        try:
            _line(told, child, found)
        except MissingWordError:
            continue
    return found if _is_kept(told, node, found) else None


def _line(told: Told, node: Node, found: Checker) -> None:
    if node.keyword in _LINES:
        _LINES[node.keyword](told, node, found)
    elif node.keyword == "alpha":
        value = told.switch(node)
        found.pace.alpha = found.pace.alpha if value is None else value
    else:
        read_pace(told, node, found.pace, is_check=True)


def _is_kept(told: Told, node: Node, found: Checker) -> bool:
    """Say what keepalived does with a check that lacks what it needs."""
    if found.kind in _HTTP and not found.urls:
        told.refused(
            node, "it has no url with a path, so keepalived drops it, and the server counts as up; what is asked for?"
        )
    elif found.kind == "MISC_CHECK" and not found.command:
        told.refused(node, "it has no misc_path, so keepalived drops it; which program is meant?")
    elif found.kind == "FILE_CHECK" and not found.track_file:
        told.refused(node, "it has no track_file, so keepalived drops it; which one is meant?")
    elif found.address and found.address.version == 6 and found.address.is_link_local and not found.interface:
        told.account.ignored(
            node.place, "keepalived drops a check of a link-local address without bind_if", *node.places()
        )
    else:
        told.carried(node)
        return True
    return False


def _address(told: Told, node: Node, found: Checker) -> None:
    value = address(told.word(node))
    if value is None:
        told.ignored(node, f"keepalived does not understand {node.words[0]!r} as an IP address")
        return
    if found.source and found.source_family != value.version:
        told.refused(node, "keepalived cannot probe it from the address in bindto; which addresses are meant?")
    else:
        told.carried(node)
    found.address, found.family = value, value.version


def _port(told: Told, node: Node, found: Checker) -> None:
    found.port = told.number(node, 1, 0xFFFF) or found.port


def _source(told: Told, node: Node, found: Checker) -> None:
    value = address(told.word(node))
    if value is None:
        told.ignored(node, f"keepalived does not understand {node.words[0]!r} as an IP address")
        return
    if value.version != found.family:
        told.ignored(node, "keepalived passes over an address of the other family than what is probed")
        return
    told.carried(node)
    found.source, found.source_family = str(value), value.version


def _source_port(told: Told, node: Node, _found: Checker) -> None:
    told.dropped(node, "a probe cannot be bound to a port, only to an address")


def _interface(told: Told, node: Node, found: Checker) -> None:
    if len(told.word(node)) > _LONGEST_INTERFACE:
        told.ignored(node, "keepalived refuses a name of an interface that is so long")
        return
    told.carried(node)
    found.interface = node.words[0]


def _mark(told: Told, node: Node, found: Checker) -> None:
    value = told.number(node, 0)
    found.mark = found.mark if value is None else value


def _url(told: Told, node: Node, found: Checker) -> None:
    if url := urls.url(told, node):
        found.urls.append(url)


def _host(told: Told, node: Node, found: Checker) -> None:
    found.host = told.word(node)
    told.carried(node)


def _protocol(told: Told, node: Node, found: Checker) -> None:
    version = _PROTOCOLS.get(told.word(node))
    if version is None:
        told.ignored(node, f"keepalived knows no version {node.words[0]!r}")
        return
    told.carried(node)
    found.protocol = version


def _sni(told: Told, node: Node, found: Checker) -> None:
    value = told.switch(node)
    found.has_sni = found.has_sni if value is None else value


def _fast_recovery(told: Told, node: Node, _found: Checker) -> None:
    if told.switch(node):
        told.noted(node, "here every probe asks for all urls")


def _compliant(told: Told, node: Node, _found: Checker) -> None:
    told.noted(node, "how the connection ends makes no difference to the outcome")


def _command(told: Told, node: Node, found: Checker) -> None:
    script = told.script(node)
    if script is None:
        return
    told.carried(node)
    if script.user:
        told.refused(
            node,
            f"keepalived runs {script.words[0]} without the words behind it; are they its arguments? "
            "Then put the whole command in double quotes",
        )
    found.command, found.command_node = script.words, node


def _misc_timeout(told: Told, node: Node, found: Checker) -> None:
    value = told.number(node, 0, _MOST_MISC_TIMEOUT_S)
    found.misc_timeout = found.misc_timeout if value is None else value


def _dynamic(told: Told, node: Node, found: Checker) -> None:
    told.carried(node)
    found.is_dynamic = True


def _user(told: Told, node: Node, _found: Checker) -> None:
    told.word(node)
    told.dropped(node, "all programs run as one user; see docs/systemd.md, Programs, to run them as another one")


def _query(told: Told, node: Node, found: Checker) -> None:
    word = told.word(node)
    if found.query:
        told.ignored(node, "keepalived keeps the first name")
    elif (word.startswith(".") and word != ".") or ".." in word:
        told.ignored(node, f"keepalived refuses {word!r}, because a label is empty, and asks for the root")
    else:
        told.carried(node)
        found.query = word


def _query_type(told: Told, node: Node, found: Checker) -> None:
    word = told.word(node).upper()
    if word not in _QUERY_TYPES:
        told.ignored(node, f"keepalived knows no type {word}, and asks for {found.query_type}")
        return
    told.carried(node)
    found.query_type = word


def _helo(told: Told, node: Node, found: Checker) -> None:
    found.helo = told.word(node)
    told.carried(node)


def hexadecimal(text: str, *, has_wild: bool) -> str:
    """Read bytes in hexadecimal as keepalived does: a digit that stands alone is a byte of its own.

    Returns them with a `?` for each wild `X`, or "" if keepalived refuses them.
    """
    digits = "0123456789abcdefABCDEF" + ("xX" if has_wild else "")
    found = []
    for word in text.split():
        if any(char not in digits for char in word):
            return ""
        pairs = [word[index : index + 2] for index in range(0, len(word), 2)]
        found += [pair if len(pair) > 1 else f"0{pair}" for pair in pairs]
    return " ".join(found).replace("x", "?").replace("X", "?").lower()


def _payload(told: Told, node: Node, found: Checker) -> None:
    told.word(node)
    payload = hexadecimal(" ".join(node.words), has_wild=False)
    if not payload:
        told.ignored(node, "keepalived does not understand it as hexadecimal")
        return
    told.carried(node)
    found.udp.payload = payload


def _reply(told: Told, node: Node, found: Checker) -> None:
    found.udp.is_required = True
    found.udp.reply_node = node
    told.carried(node)
    if not node.words:
        return
    reply = hexadecimal(" ".join(node.words), has_wild=True)
    if not reply:
        told.refused(node, "keepalived does not understand it as hexadecimal, and takes any reply; which is meant?")
    found.udp.reply = reply


def _least(told: Told, node: Node, found: Checker) -> None:
    value = told.number(node, 0, _MOST_LENGTH, is_strict=True)
    found.udp.least = found.udp.least if value is None else value


def _most(told: Told, node: Node, found: Checker) -> None:
    value = told.number(node, 0, _MOST_LENGTH, is_strict=True)
    found.udp.most = found.udp.most if value is None else value


def _track_file(told: Told, node: Node, found: Checker) -> None:
    found.track_file = told.word(node)
    told.carried(node)


def _file_weight(told: Told, node: Node, found: Checker) -> None:
    word = told.word(node)
    value = int(word) if re.fullmatch(r"[+-]?[0-9]{1,10}", word) else None
    if value is None or abs(value) > _MOST_FILE_WEIGHT:
        told.refused(node, f"keepalived does not understand the weight {word!r}; what is meant?")
        return
    told.carried(node)
    found.file_weight = value


def _bfd(told: Told, node: Node, _found: Checker) -> None:
    told.carried(node)


def _hosts(told: Told, node: Node, _found: Checker) -> None:
    told.refused_whole(
        node, "host blocks are no longer meant to be used; write an SMTP_CHECK with connect_ip for each host"
    )


_LINES: dict[str, Callable[[Told, Node, Checker], None]] = {
    "connect_ip": _address,
    "connect_port": _port,
    "bindto": _source,
    "bind_port": _source_port,
    "bind_if": _interface,
    "fwmark": _mark,
    "url": _url,
    "virtualhost": _host,
    "http_protocol": _protocol,
    "enable_sni": _sni,
    "fast_recovery": _fast_recovery,
    "tls_compliant": _compliant,
    "misc_path": _command,
    "misc_timeout": _misc_timeout,
    "misc_dynamic": _dynamic,
    "user": _user,
    "type": _query_type,
    "helo_name": _helo,
    "payload": _payload,
    "require_reply": _reply,
    "min_reply_length": _least,
    "max_reply_length": _most,
    "track_file": _track_file,
    "weight": _file_weight,
    "host": _hosts,
    "name": lambda told, node, found: (_bfd if found.kind == "BFD_CHECK" else _query)(told, node, found),
}
