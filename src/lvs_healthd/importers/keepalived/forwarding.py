"""Reads forwarding methods: `lb_kind` and `lvs_method`, with the options of tunnels."""

from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.records import Forward
from lvs_healthd.importers.keepalived.told import Told
from lvs_healthd.importers.keepalived.words import Invalid, number

_METHODS = frozenset({"NAT", "DR", "TUN"})


def forward(told: Told, node: Node, before: Forward | None) -> Forward | None:
    """Read a forwarding method, or return the one before if keepalived does not know it."""
    method = told.word(node)
    if method not in _METHODS:
        now = before.method if before else "NAT"
        told.ignored(
            node, f"keepalived knows no method {method!r} (NAT, DR and TUN), and uses {now}; write what is meant"
        )
        return before
    found = _options(method, node.words[1:])
    if isinstance(found, str):
        told.refused(node, f"keepalived does not take the options of this tunnel, because {found}; which are meant?")
        return Forward(method)
    told.carried(node)
    return found


def _options(method: str, given: list[str]) -> Forward | str:
    """Read the options of a tunnel, or return what is wrong with them."""
    values = {"type": "ipip", "port": "0"}
    checksum = "nocsum"
    position = 0
    while position < len(given):
        word = given[position]
        if word in values:
            if position + 1 == len(given):
                return f"a word is missing behind {word}"
            values[word] = given[position + 1]
            position += 1
        elif word in {"nocsum", "csum", "remcsum"}:
            checksum = word
        else:
            return f"it knows no {word!r}"
        position += 1
    port = number(values["port"], 1, 0xFFFF, is_strict=True) if values["port"] != "0" else None
    if values["type"] not in {"ipip", "gue", "gre"} or isinstance(port, Invalid):
        return "it knows neither this type nor this port"
    if (values["type"] == "gue") != (port is not None):
        return "gue needs a port, and the others have none"
    if (values["type"], checksum) in {("ipip", "csum"), ("ipip", "remcsum"), ("gre", "remcsum")}:
        return f"{values['type']} has no {checksum}"
    return Forward(method, values["type"], port.value if port else 0, checksum)
