"""Says for a dry run which addresses a reload would take off interfaces, move, or put there. It is pure."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from lvs_healthd.director import announced
from lvs_healthd.director.announced import Found, Place
from lvs_healthd.view.reload_values import AddressChange

WAITS = "when its services may serve"


def address_changes(
    gone: AbstractSet[Place],
    new: AbstractSet[Place],
    *,
    known: Mapping[Place, bool],
    decided: Mapping[str, bool | None],
    found: Mapping[str, Found],
) -> Iterator[AddressChange]:
    """Yield what would become of addresses.

    gone: those of the daemon's own that would not be configured there any more.
    new: those that would be written from then on, and are not now.
    known: all that would be configured, each with whether it would be written. It is not in shadow mode.
    decided: whether each address is to be announced, as decided by now. None, or no entry: that is not known.
    found: the interfaces of all of them, as they are.
    """
    elsewhere = {place.address: place for place in known}
    moving = set()
    for place in sorted(announced.listed(gone, found)):
        other = elsewhere.get(place.address)
        if other is None or (known[other] and decided.get(place.address) is False):
            yield _change(place.address, place.interface, "", f"would be taken off {place.interface}")
            continue
        moving.add(place.address)
        if trouble := _trouble(other, found) if known[other] else "its services would be in shadow mode":
            change, when = f"would stay on {place.interface}: {trouble}", ""
        else:
            change = f"would move from {place.interface} to {other.interface}"
            when = "" if decided.get(place.address) else WAITS
        yield _change(place.address, place.interface, other.interface, change, when)
    for place in sorted(new - announced.listed(new, found)):
        if place.address in moving:
            continue
        if trouble := _trouble(place, found):
            change, when = f"could not be announced from {place.interface}: {trouble}", ""
        else:
            change, when = f"would be put on {place.interface}", WAITS
        yield _change(place.address, "", place.interface, change, when)


def _trouble(place: Place, found: Mapping[str, Found]) -> str:
    """Say why an address could not be announced from an interface; "" if it could."""
    if place.interface not in found:
        return announced.missing(place.interface)
    return "" if found[place.interface].is_up else announced.is_down(place.interface)


def _change(address: str, was: str, interface: str, change: str, when: str = "") -> AddressChange:
    return AddressChange(address=address, was=was, interface=interface, change=change, when=when)
