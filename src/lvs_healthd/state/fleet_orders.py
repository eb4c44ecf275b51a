"""Turns orders that a fleet shares into keys and values of etcd, and back; and keeps what etcd said in a file.

An order is one key, named after what it is about: `PREFIX` + `overrides/state/SERVICE/SERVER` or
`overrides/weight/SERVICE/SERVER`. So two orders about the same thing cannot both be there. Its value is what the file
of orders holds too (see `overrides`), and its format is frozen as that is: directors of several versions read it.

Beside the orders, one key has a number by chance that came with the first of them, so that an etcd without it, or with
another one, is known to be another etcd.

Whatever is in etcd may have been written by anybody, so it is read with limits.
"""

import math
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from lvs_healthd.runtime.exceptions import PeerError
from lvs_healthd.runtime.printable import printable
from lvs_healthd.state.overrides import Kind, Override
from lvs_healthd.state.safe_file import StateFileError, put_aside, read_regular, replace_file

FOLDER = "overrides/"
"""What follows the prefix in the names of the keys."""

ID = "id"
"""The name of the key with the number by chance."""

LARGEST = 4096
"""How large an order may be, bytes."""

LONGEST_REASON = 200
"""How long a reason may be, characters."""

LONGEST_NAME = 128
"""How long other words may be, characters."""

LARGEST_WEIGHT = 65535
"""The largest weight, as ipvsadm has it."""

LAST_MOMENT = 253402300799
"""The end of the year 9999, Unix time."""

NAME = "fleet-overrides.json"
"""The name of the file, in the folder of the state file."""


class WrongOrderError(PeerError):
    """Raised when an order in etcd cannot be understood."""


def key_of(override: Override) -> str:
    """Return the name of an order's key, without prefix and folder."""
    about = "weight" if override.kind is Kind.WEIGHT else "state"
    return f"{about}/{override.service}/{override.server}"


def written(override: Override) -> bytes:
    """Return the value of an order's key."""
    return msgspec.json.encode(override)


def read_order(name: str, value: bytes) -> Override:
    """Read an order.

    name: the name of its key, without prefix and folder.

    Raises `WrongOrderError`.
    """
    if len(value) > LARGEST:
        raise WrongOrderError(f"more than {LARGEST} bytes")
    try:
        found = msgspec.json.decode(value, type=Override)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WrongOrderError(printable(str(error))[:200]) from None
    if wrong := _wrong(found):
        raise WrongOrderError(wrong)
    if key_of(found) != name:
        raise WrongOrderError(f'it is about "{printable(key_of(found))[:200]}", as which its key must be named')
    return found


def _wrong(override: Override) -> str:
    """Say what is wrong with an order; "" if nothing is."""
    words = {"service": override.service, "server": override.server, "director": override.director}
    for field, text in words.items():
        if not 0 < len(text) <= LONGEST_NAME or not text.isprintable():
            return f"{field}: expected a text of at most {LONGEST_NAME} characters in one line"
    if len(override.reason) > LONGEST_REASON or not override.reason.isprintable():
        return f"reason: expected a text of at most {LONGEST_REASON} characters in one line"
    if (override.weight is None) is (override.kind is Kind.WEIGHT):
        return 'weight: only an order of the kind "weight" has one'
    if override.weight is not None and not 0 <= override.weight <= LARGEST_WEIGHT:
        return f"weight: expected a number from 0 to {LARGEST_WEIGHT}"
    for field, moment in (("since", override.since), ("until", override.until), ("deadline", override.deadline)):
        if moment is not None and not (math.isfinite(moment) and 0 <= moment <= LAST_MOMENT):
            return f"{field}: expected a Unix time"
    return ""


class SavedOrders(msgspec.Struct, frozen=True, kw_only=True):
    """What etcd said of orders."""

    prefix: str
    id: str = ""
    """The number by chance; "" for none."""
    cluster: int = 0
    """The cluster of etcd that said so."""
    revision: int = 0
    """The revision at which it did."""
    overrides: tuple[Override, ...] = ()
    lost: tuple[Override, ...] = ()
    """Orders in force that etcd had no more, though nobody had ended them."""


def orders_beside(state: str) -> Path:
    """Return the path of the file that belongs to a state file."""
    return Path(state).with_name(NAME)


def read_orders(path: Path, *, rescue: bool) -> SavedOrders | None:
    """Read what etcd said; None if there is no file. This blocks.

    rescue: whether to rename a file that cannot be read or understood to NAME.bad, so that it is not overwritten.

    Raises `StateFileError` when there is a file that cannot be read or understood.
    """
    try:
        content, _ = read_regular(path)
        return msgspec.json.decode(content, type=SavedOrders)
    except OSError as error:
        if not os.path.lexists(path):
            return None
        what = put_aside(path) if rescue else "left as it is"
        raise StateFileError(f"{path}: cannot read: {error.strerror}; {what}; {_THEN}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = put_aside(path) if rescue else "left as it is"
        raise StateFileError(f"{path}: not a file of what etcd said ({error}); {what}; {_THEN}") from error


_THEN = "what is ordered for the whole fleet counts as soon as etcd answers"


def write_orders(path: Path, saved: SavedOrders) -> None:
    """Replace the file. When this returns, a crash cannot undo it. This blocks. Raises `StateFileError`."""
    lost = "after a restart, what is ordered for the whole fleet is not known while etcd is away"
    replace_file(path, [msgspec.json.encode(saved) + b"\n"], lost)


def in_force(overrides: Iterable[Override], now: float) -> list[Override]:
    """Return the orders whose time is not over, Unix time."""
    return [each for each in overrides if each.until is None or each.until > now]
