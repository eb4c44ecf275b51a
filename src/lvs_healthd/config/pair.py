"""Reads the `[pair]` table, and reports what in it does not fit the services or the rest of the file."""

import fnmatch
from collections.abc import Iterable
from pathlib import Path

from lvs_healthd.config import values
from lvs_healthd.config.errors import Errors, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import ActiveWhen, Daemon, Pair, Service, Standby, TrackFault
from lvs_healthd.config.schema import Key, TomlTable, read_table

PAIR_KEYS = {
    "active_when": Key(values.member(ActiveWhen)),
    "standby": Key(values.member(Standby)),
    "track_file": Key(values.optional_path),
    "track": Key(values.listed(values.label, "a list of names of services, which may have wildcards")),
    "track_fault": Key(values.member(TrackFault)),
    "track_after": Key(values.duration("0s", "10m")),
    "track_back": Key(values.duration("0s", "1h")),
}

_OF_THE_FILE = ("track", "track_fault", "track_after", "track_back")
"""The keys that say what the track file tells."""

_PATH: KeyPath = ("pair",)


def read_pair(written: object, errors: Errors) -> tuple[Pair, TomlTable]:
    """Read the `[pair]` table. Return it as a record and as it was written. Errors are added to `errors`."""
    table = read_table(written, _PATH, PAIR_KEYS, errors)
    return Pair(**table.values), table


def validate_pair(pair: Pair, table: TomlTable, daemon: Daemon, services: Iterable[Service], errors: Errors) -> None:
    """Add an error for each key that does nothing or cannot work, and a remark for each service that stays active."""
    follows_vips = pair.active_when is ActiveWhen.VIP_PRESENT
    if not follows_vips and pair.standby is Standby.SUSPEND and not table.is_wrong("active_when"):
        errors.add(table.at("standby"), 'this does nothing without active_when = "vip-present"')
    if not pair.track_file and not table.is_wrong("track_file"):
        for key in _OF_THE_FILE:
            if key in table:
                errors.add(table.at(key), "this does nothing without a track_file")
    if pair.track_file and follows_vips and pair.standby is Standby.SUSPEND:
        # The file would keep its 1: VRRP takes the address away, and that suspends the probes that could clear it.
        errors.add(
            table.at("track_file"),
            'not with standby = "suspend": a director that has given its address away would not probe, and could never '
            "find out that it is well again",
        )
    others = {key: getattr(daemon, key) for key in ("control", "state", "overrides", "exec_socket")}
    others["overrides"] = daemon.overrides or str(Path(daemon.state).with_name("overrides.json"))
    for key, path in others.items():
        if pair.track_file and path == pair.track_file:
            errors.add(table.at("track_file"), f"the same as daemon.{key}; the track file needs a name of its own")
    _validate_services(pair, table, services, errors, follows_vips=follows_vips)


def _validate_services(
    pair: Pair, table: TomlTable, services: Iterable[Service], errors: Errors, *, follows_vips: bool
) -> None:
    services = tuple(services)
    if follows_vips:
        for service in services:
            if service.endpoint is None and service.vip is None:
                errors.remark(
                    _PATH,
                    f"service {show(service.name)} has a firewall mark and no address, so it counts as active on both "
                    'directors; name its address: vip = "192.0.2.100"; or say that this is meant: vip = ""',
                )
    if pair.track_file and "track" in table:
        names = {service.name for service in services}
        for index, pattern in enumerate(pair.track):
            if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
                guess = values.did_you_mean(pattern, names)
                errors.add((*table.at("track"), index), f"no service is called {show(pattern)}{guess and f'; {guess}'}")
