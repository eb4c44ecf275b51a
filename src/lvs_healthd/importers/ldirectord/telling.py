"""Says what became of the lines that make no service and no hook: logging, and how the daemon itself runs."""

from typing import Any

from lvs_healthd.importers.account import Account
from lvs_healthd.importers.ldirectord.records import File, Setting, Settings, Virtual

_LOST = {
    "callback": (
        "it is called when the configuration changes, which is no event here; copy "
        "the configuration to the other director with what changes it here"
    ),
    "cleanstop": "a stop of lvs-healthd leaves the table as it is; `lvs-healthd flush` takes the services out",
    "logfile": "lvs-healthd logs to standard error, which systemd puts into its journal",
    "monitorfile": "there is no file with a line for each check: see `lvs-healthd why` and /metrics",
}
"""Keys that nothing here corresponds to, with what to do instead."""

_TIMES = frozenset({"checktimeout", "negotiatetimeout", "checkinterval", "checkcount", "failurecount", "quiescent"})
"""The global keys that virtuals take their values from."""


def tell_of_virtual(virtual: Virtual, account: Account) -> None:
    """Account for the keys of a block that are neither its service's nor its checks'."""
    settings = virtual.settings
    quiescent = settings.get("quiescent")
    if quiescent is not None:
        account.carried(quiescent.place)
    _tell_of_cleanstop(settings, account)
    _drop(settings, "monitorfile", account)
    if "load" in settings:
        account.ignored(settings["load"].place, "ldirectord reads this key and does not use it")


def tell_of_globals(file: File, account: Account, used: set[Setting]) -> dict[str, Any]:
    """Account for the global keys, and return the tables they make.

    used: the settings that services come from.
    """
    settings = file.settings
    _tell_of_cleanstop(settings, account)
    for key in ("callback", "logfile"):
        _drop(settings, key, account)
    for key in _TIMES & settings.keys():
        _tell_of_time(settings[key], account, used)
    for key in ("fork", "supervised"):
        if key in settings:
            account.carried(settings[key].place)
    _tell_of_reloading(settings, account)
    for fallback in file.fallbacks.values():
        if not account.fates(fallback.place):
            account.ignored(fallback.place, "no service uses it")
    return _maintenance(settings, account)


def _tell_of_time(setting: Setting, account: Account, used: set[Setting]) -> None:
    if setting not in used:
        account.ignored(setting.place, "no service uses it")
    elif setting.key == "checkinterval":
        text = f"ldirectord waits so long after each round; here each check begins every {setting.number} s"
        account.noted(setting.place, text)
    else:
        account.carried(setting.place)


def _tell_of_cleanstop(settings: Settings, account: Account) -> None:
    setting = settings.get("cleanstop")
    if setting is not None and setting.value == "no":
        account.carried(setting.place)
    else:
        _drop(settings, "cleanstop", account)


def _tell_of_reloading(settings: Settings, account: Account) -> None:
    setting = settings.get("autoreload")
    if setting is not None and setting.value == "yes":
        account.dropped(setting.place, "type `lvs-healthd reload` after a change, which says what is wrong with it")
    elif setting is not None:
        account.carried(setting.place)
    setting = settings.get("readdquiescent")
    if setting is not None and setting.value == "yes":
        text = "a server that is not in the table comes into it when it first passes, and not before with weight 0"
        account.dropped(setting.place, text)
    elif setting is not None:
        account.carried(setting.place)


def _maintenance(settings: Settings, account: Account) -> dict[str, Any]:
    setting = settings.get("maintenancedir")
    if setting is None:
        return {}
    if not setting.value.startswith("/"):
        account.dropped(setting.place, "the folder needs its whole path: write daemon.maintenance_dir")
        return {}
    account.noted(setting.place, "a file there drains its server (weight 0), also where quiescent=no took it out")
    return {"daemon": {"maintenance_dir": setting.value.strip()}}


def _drop(settings: Settings, key: str, account: Account) -> None:
    if key in settings:
        account.dropped(settings[key].place, _LOST[key])
