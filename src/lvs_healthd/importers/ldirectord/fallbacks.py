"""Makes `fallback` of a virtual's own fallback, or of the global one (`fallback_find` of ldirectord)."""

import ipaddress
from typing import Any

from lvs_healthd.importers.account import Account
from lvs_healthd.importers.ldirectord.records import FORWARDS, Fallback, File, Virtual, bracketed


def fallback_keys(virtual: Virtual, file: File, account: Account, servers: set[str]) -> dict[str, Any]:
    """Return the key `fallback` of a service, or nothing.

    servers: the addresses of its real servers, as the configuration has them.
    """
    fallback = virtual.fallback
    if fallback is None:
        fallback = file.fallbacks.get(virtual.family)
        if fallback is not None and virtual.mark is not None:
            text = f"not for the firewall mark {virtual.mark}, for which ldirectord has no address here"
            account.ignored(fallback.place, text)
            return {}
    if fallback is None:
        return {}
    address = _address(virtual, fallback)
    if fallback.forward == "masq" and is_loopback(fallback.address) and not is_loopback(virtual.address):
        text = (
            f"the kernel drops what masq would send to {fallback.address}, so this fallback answers nobody: write "
            "gate, and let the server listen on the service's own address too"
        )
        account.dropped(fallback.place, text)
        return {}
    if address in servers:
        text = f"{address} is a real server of the service too, and cannot be its fallback: leave one of them out"
        account.dropped(fallback.place, text)
        return {}
    account.carried(fallback.place)
    port = _port(virtual, fallback)
    if fallback.port not in {None, port}:
        to = f"uses port {port}" if port else "leaves packets their port"
        text = f"the kernel does not use port {fallback.port} with {fallback.forward}: it {to}"
        account.noted(fallback.place, text)
    return {"fallback": [{"address": address, "forward": FORWARDS[fallback.forward]}]}


def is_loopback(address: str) -> bool:
    """Return whether an address is the director's own alone, so that the kernel maps nothing to it. "" is none."""
    return bool(address) and ipaddress.ip_address(address).is_loopback


def _port(virtual: Virtual, fallback: Fallback) -> int:
    return virtual.used_port(fallback.forward, fallback.port or 0)


def _address(virtual: Virtual, fallback: Fallback) -> str:
    port = _port(virtual, fallback)
    address = bracketed(fallback.address)
    return address if port in {0, virtual.port} else f"{address}:{port}"
