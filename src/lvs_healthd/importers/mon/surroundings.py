"""Tells what became of the lines around watches: global variables, hostgroups, aliases and views."""

from collections.abc import Iterable

from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.draft import Part
from lvs_healthd.importers.mon.reading import BEHAVIOUR, CLIENTS, FOLDERS, HISTORY
from lvs_healthd.importers.mon.records import Configuration
from lvs_healthd.importers.mon.running import between_folders

_DEPENDENCIES = ("depend", "alertdepend", "monitordepend", "hostdepend")


def has_programs(parts: Iterable[Part]) -> bool:
    """Return whether any check of the services runs a program."""

    def is_program(value: object) -> bool:
        if isinstance(value, dict):
            return value.get("type") == "exec" or any(is_program(each) for each in value.values())
        return isinstance(value, list) and any(is_program(each) for each in value)

    return any(is_program(part.values) for part in parts)


def tell_globals(configuration: Configuration, account: Account, parts: list[Part]) -> None:
    """Tell what became of global variables, aliases and views."""
    for key, setting in configuration.settings.items():
        place, *more = setting.places
        if key in CLIENTS:
            account.dropped(
                place, "mon's clients and traps do not reach lvs-healthd; see docs/operators.md and docs/api.md"
            )
        elif key in HISTORY:
            account.dropped(
                place, "what happened is in the log, in `lvs-healthd why` and in the metrics; see docs/logs.md"
            )
        elif key in BEHAVIOUR:
            _tell_behaviour(key, place, configuration, account)
        elif key in FOLDERS:
            _tell_folder(key, setting.value, place, account)
        elif key == "maxprocs" and has_programs(parts) and setting.value.strip("0"):
            account.carried(place)
        else:
            account.noted(place, f"{key} is not needed here")
        account.carried(*more)
    for kind, places in configuration.displays:
        account.dropped(places[0], f"{kind} is for mon's own displays")
        account.carried(*places[1:])


def _tell_behaviour(key: str, place: Place, configuration: Configuration, account: Account) -> None:
    services = [each for watch in configuration.watches.values() for each in watch.services.values()]
    if key.startswith("dep_") and not any(name in each.settings for each in services for name in _DEPENDENCIES):
        account.ignored(place, f"{key} does nothing without a dependency")
    elif key.startswith("dep_"):
        account.dropped(place, "there are no dependencies")
    elif key == "exclude_period":
        account.dropped(place, "checks run at all times; see lvs-healthd drain (docs/operators.md)")
    else:
        account.dropped(place, f"{key} is about alerts for which there is no event")


def _tell_folder(key: str, value: str, place: Place, account: Account) -> None:
    torn = between_folders(value) if key in {"mondir", "alertdir"} else ""
    if torn:
        text = f"mon 1.3.6 splits this list at {torn!r}, and not at the colon alone"
        account.refused(place, f"{text}; which folders were meant? Write no s and no blank beside a colon")
    else:
        account.carried(place)


def tell_groups(configuration: Configuration, account: Account) -> None:
    """Tell what became of hostgroups, and of lines that mon takes for hosts."""
    swallowed: set[str] = set()
    for name, places in configuration.swallowed:
        text = f"mon takes this line for hosts of hostgroup {name}, because no blank line ends the group"
        if name not in swallowed:
            account.refused(places[0], f"{text}; what was meant? Put a blank line before it")
        swallowed.add(name)
    for name, group in configuration.groups.items():
        is_watched = name in configuration.watches and bool(configuration.watches[name].services)
        for place, words in group.places:
            if name in swallowed or is_watched:
                account.carried(place)
            else:
                account.ignored(place, f"no watch uses hostgroup {name}")
            for word in words:
                if word.startswith("*") and is_watched:
                    account.noted(place, f"{word} is disabled in mon, so nothing checks it")
