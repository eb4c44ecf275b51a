"""Builds the nftables rules that fullnat and synproxy services need, in the form in which `nft -j` lists them.

Source NAT (fullnat): with net.ipv4.vs.conntrack=1, connection tracking also tracks a connection that IPVS forwards by
nat. It knows the connection by the address to which the client connected. The packets pass the postrouting hook like
any others.

SYN proxy: a SYN to the service is not tracked, and is answered with a cookie before IPVS sees it. So the last packet of
the handshake is the first packet that connection tracking sees, and counts as invalid (with nf_conntrack_tcp_loose=0).
If the packet's cookie is right, the kernel opens the connection to the service on behalf of the client, and IPVS
schedules that connection.

The format is described in libnftables-json(5). A set with one address is written as that address, as nft lists it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from lvs_healthd.config.basics import Endpoint, Family
from lvs_healthd.config.model import Forward, Service

FAMILY = "inet"
TABLE = "lvs_healthd"

_IP = {Family.IPV4: "ip", Family.IPV6: "ip6"}
_MSS = {Family.IPV4: 1460, Family.IPV6: 1440}
"""The largest TCP segment that fits into Ethernet's 1500 bytes, bytes."""
_COMMENT_BYTES = 127
"""The longest comment that nft accepts, bytes."""

_POSTROUTING = {"name": "postrouting", "type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"}
_PREROUTING = {"name": "prerouting", "type": "filter", "hook": "prerouting", "prio": -300, "policy": "accept"}
_INPUT = {"name": "input", "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}
_L4PROTO = {"meta": {"key": "l4proto"}}

Object = dict[str, Any]
"""One chain or rule in nft's JSON (libnftables-json(5)), without its handle."""


def ruleset(services: Iterable[Service]) -> list[Object]:
    """Return the chains and rules of the daemon's table. Empty when no service needs any."""
    chosen = list(services)
    source_nat = [rule for service in chosen for rule in _source_nat(service)]
    proxied = _proxied(chosen)
    objects: list[Object] = []
    if source_nat:
        objects += [_chain(_POSTROUTING), *source_nat]
    if proxied:
        objects += [_chain(_PREROUTING), *_handshake(proxied, _untracked)]
        objects += [_chain(_INPUT), *_handshake(proxied, _proxy)]
    return objects


def transaction(objects: Iterable[Object]) -> Object:
    """Return the commands that replace the content of the daemon's table in one transaction.

    objects: the chains and rules to put into the table. Without any, the table is deleted.
    """
    table = {"table": {"family": FAMILY, "name": TABLE}}
    chosen = list(objects)
    # The table is added first, because it is an error to delete a table that does not exist.
    commands: list[Object] = [{"add": table}, {"delete": table}]
    if chosen:
        commands += [{"add": table}, *({"add": each} for each in chosen)]
    return {"nftables": commands}


def normal(listing: Iterable[Object]) -> list[Object]:
    """Bring rules into a form in which the wanted rules can be compared with those that nft lists.

    Unlike ours, a listing has handles, orders sets in its own way, and omits the protocol when a port implies it. It
    also has the table itself, which is left out unless it has flags: ours has none, and the rules of a dormant table do
    nothing.
    """
    objects = (_normal(each) for each in listing if "metainfo" not in each and not _is_plain_table(each))
    return sorted(objects, key=lambda each: "rule" in each)


def describe(objects: Iterable[Object]) -> str:
    """Summarise what a table holds, such as "3 rules"."""
    chosen = list(objects)
    rules = sum("rule" in each for each in chosen)
    text = f"{rules} rule{'' if rules == 1 else 's'}" if rules else "none"
    # nft 1.0.6 lists the table's name in place of the flags, so they cannot be named.
    return f"{text}, in a table with flags (dormant?)" if any("table" in each for each in chosen) else text


def _is_plain_table(each: Object) -> bool:
    return "table" in each and not each["table"].get("flags")


def _source_nat(service: Service) -> Iterator[Object]:
    """Yield the rule that replaces the client's address with the director's on the way to fullnat servers."""
    servers = [server.endpoint for server in service.servers if server.forward is Forward.FULLNAT]
    if not servers:
        return
    ip = _IP[service.family]
    where = service.endpoint
    if where is None:
        matches = [_match({"meta": {"key": "mark"}}, service.fwmark), _to_address(ip, servers)]
    else:
        protocol = str(service.protocol)
        matches = [_original(f"{ip} daddr", where.address), _match(_L4PROTO, protocol)]
        if where.port:
            matches += [_original("proto-dst", where.port), _to(ip, protocol, servers)]
        else:
            matches.append(_to_address(ip, servers))
    yield _rule(_POSTROUTING, [*matches, {"masquerade": None}], service.name)


class _Announced(NamedTuple):
    """The TCP options that the director announces to clients on behalf of the servers."""

    family: Family
    mss: int
    wscale: int


_Proxied = dict[_Announced, list[Endpoint]]


def _proxied(services: Iterable[Service]) -> _Proxied:
    found: _Proxied = {}
    for service in services:
        if service.synproxy and service.endpoint is not None:
            family = service.family
            told = _Announced(family, service.synproxy_mss or _MSS[family], service.synproxy_wscale)
            found.setdefault(told, []).append(service.endpoint)
    return dict(sorted(found.items()))


def _handshake(proxied: _Proxied, rules: Callable[[_Announced, Object], Iterator[Object]]) -> Iterator[Object]:
    for told, endpoints in proxied.items():
        yield from rules(told, _to(_IP[told.family], "tcp", endpoints))


def _untracked(_: _Announced, to_service: Object) -> Iterator[Object]:
    flags = {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn", "rst", "ack"]]}
    yield _rule(_PREROUTING, [to_service, _match(flags, "syn"), {"notrack": None}])


def _proxy(told: _Announced, to_service: Object) -> Iterator[Object]:
    state = {"ct": {"key": "state"}}
    options = {"mss": told.mss, "wscale": told.wscale, "flags": ["timestamp", "sack-perm"]}
    is_new = _match(state, ["invalid", "untracked"], "in")
    yield _rule(_INPUT, [to_service, is_new, {"synproxy": options}])
    yield _rule(_INPUT, [to_service, _match(state, "invalid", "in"), {"drop": None}])


def _to(ip: str, protocol: str, endpoints: list[Endpoint]) -> Object:
    left = [
        {"payload": {"protocol": ip, "field": "daddr"}},
        {"payload": {"protocol": protocol, "field": "dport"}},
    ]
    pairs = sorted({(each.address, each.port) for each in endpoints})
    return _match({"concat": left}, {"set": [{"concat": [address, port]} for address, port in pairs]})


def _to_address(ip: str, endpoints: list[Endpoint]) -> Object:
    addresses = sorted({each.address for each in endpoints})
    right = addresses[0] if len(addresses) == 1 else {"set": addresses}
    return _match({"payload": {"protocol": ip, "field": "daddr"}}, right)


def _original(key: str, value: str | int) -> Object:
    return _match({"ct": {"key": key, "dir": "original"}}, value)


def _match(left: Object, right: object, operator: str = "==") -> Object:
    return {"match": {"op": operator, "left": left, "right": right}}


def _chain(chain: Object) -> Object:
    return {"chain": {"family": FAMILY, "table": TABLE, **chain}}


def _rule(chain: Object, expressions: list[Object], comment: str = "") -> Object:
    place = {"family": FAMILY, "table": TABLE, "chain": chain["name"]}
    text = comment.encode()[:_COMMENT_BYTES].decode(errors="ignore").replace('"', "'")
    return {"rule": {**place, **({"comment": text} if text else {}), "expr": expressions}}


def _normal(each: Object) -> Object:
    kind, body = next(iter(each.items()))
    found = {key: _in_one_form(value) for key, value in body.items() if key != "handle"}
    if kind == "rule" and any(_implies_protocol(_left(one)) for one in found["expr"]):
        found["expr"] = [one for one in found["expr"] if _left(one) != _L4PROTO]
    return {kind: found}


def _left(expression: Object) -> Object:
    """Return the left side of a match: the packet field that it tests. Empty when the expression is not a match."""
    left = expression.get("match", {}).get("left", {})
    return left if isinstance(left, dict) else {}


def _implies_protocol(left: Object) -> bool:
    """Return whether a match tests a port, alone or together with an address."""
    return any(each.get("payload", {}).get("field") == "dport" for each in (left, *left.get("concat", ())))


def _in_one_form(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Sort sets, and turn combined flags into a list of their names, because versions of nft list both differently.

    Elements may be of any type, because somebody else may have written the rules.
    """
    if isinstance(value, list):
        return [_in_one_form(each) for each in value]
    if isinstance(value, dict):
        if value.keys() == {"|"}:
            return _in_one_form(value["|"])
        return {
            key: sorted(each, key=repr) if key == "set" and isinstance(each, list) else _in_one_form(each)
            for key, each in value.items()
        }
    return value
