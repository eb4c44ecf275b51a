"""What the importer understands of a mon.cf, in the words of the expected.json files that mon itself has written."""

from pathlib import Path
from typing import Any

from lvs_healthd.importers.account import Account
from lvs_healthd.importers.mon.lines import lines_of
from lvs_healthd.importers.mon.reading import read
from lvs_healthd.importers.mon.records import Alert, Configuration, Period, Service
from lvs_healthd.importers.mon.running import folders, monitor_words
from lvs_healthd.importers.mon.watching import every
from lvs_healthd.importers.mon.words import blank_words, duration

CORPUS = Path(__file__).parent / "corpus" / "mon"
FLAGS = {"upalert": ["-u"], "ackalert": ["-a"], "disablealert": ["-D"]}
GLOBALS = {"alertdir": "ALERTDIR", "maxprocs": "MAXPROCS", "histlength": "MAX_KEEP", "mondir": "SCRIPTDIR"}
PLAIN = ("depend", "alertdepend", "monitordepend", "hostdepend")


def files() -> list[str]:
    """Return the names of the files in the corpus, without their endings."""
    return sorted(path.stem for path in CORPUS.glob("*.cf"))


def reading(text: str, name: str = "mon.cf") -> tuple[Configuration, Account]:
    """Return what a text is understood as, and the account of its lines."""
    lines = lines_of(text)
    account = Account({name: lines})
    return read(lines, name, account), account


def understood(configuration: Configuration) -> dict[str, Any]:
    """Return the groups and watches as the expected.json files have them."""
    settings = {key: each.value for key, each in configuration.settings.items()}
    found = {"ALERTDIR": "/usr/local/lib/mon/alert.d:alert.d", "SCRIPTDIR": "/usr/local/lib/mon/mon.d:mon.d"}
    found |= {"MAXPROCS": "0", "MAX_KEEP": "100"}
    found |= {GLOBALS[key]: value for key, value in settings.items() if key in GLOBALS}
    if "randstart" in settings:
        found["RANDSTART"] = str(duration(settings["randstart"]))
    return {
        "globals": found,
        "folders": list(folders(configuration.settings, is_absolute=False)),
        "groups": {name: group.hosts for name, group in configuration.groups.items()},
        "watch": {
            name: {each.name: service(each, configuration) for each in watch.services.values()}
            for name, watch in configuration.watches.items()
            if watch.services
        },
    }


def service(given: Service, configuration: Configuration) -> dict[str, Any]:
    """Return a service in the words of the expected.json files."""
    settings = {key: each.value for key, each in given.settings.items()}
    hosts = configuration.groups[given.group].hosts
    found: dict[str, Any] = {
        "interval_s": duration(settings.get("interval", "")),
        "failure_interval_s": duration(settings.get("failure_interval", "")),
        "ever_checked": "interval" in settings and "monitor" in settings,
        "monitor": settings.get("monitor"),
        "environment": {key: each.value for key, each in given.environment.items()},
        "description": settings.get("description"),
        "dep_behavior": settings.get("dep_behavior", given.dep_behavior),
        "periods": {each.label: period(each, given, hosts) for each in given.periods.values()},
    }
    found |= {key: settings[key].replace("SELF:", f"{given.group}:") for key in PLAIN if key in settings}
    found |= {key: duration(settings[key]) for key in ("traptimeout", "trapduration", "randskew") if key in settings}
    excluded = blank_words(settings.get("exclude_hosts", ""))
    found |= {"exclude_hosts": dict.fromkeys(excluded, 1)} if excluded else {}
    found |= {key: settings[key] for key in ("exclude_period", "redistribute") if settings.get(key)}
    found |= {"allow_empty_group": True} if "allow_empty_group" in settings else {}
    if "monitor" in settings:
        words, has_hosts = monitor_words(settings["monitor"])
        used = [host for host in hosts if not host.startswith("*") and host not in excluded]
        found["monitor_argv"] = [*(words or ()), *(used if has_hosts else ())]
    return found


def period(given: Period, of: Service, hosts: list[str]) -> dict[str, Any]:
    """Return a period in the words of the expected.json files."""
    found: dict[str, Any] = {"when": given.when}
    for each in given.after:
        count, _, time = each.value.partition(" ")
        if time:
            found |= {"alertafter_failures_within": count, "alertafter_s": duration(time)}
        elif count.isdecimal():
            found |= {"alertafter_failures": count} if count != "0" else {}
        else:
            found |= {"alertafter_s": duration(count)}
    settings = {key: each.value for key, each in given.settings.items()}
    if "alertevery" in settings:
        time, how = every(settings["alertevery"])
        found |= {"alertevery_s": duration(time), **({how: 1} if how not in {"", "summary"} else {})}
    if settings.get("numalerts", "0") != "0":
        found["numalerts"] = settings["numalerts"]
    if "upalertafter" in settings:
        found["upalertafter_s_never_used"] = duration(settings["upalertafter"])
    found |= {key: settings[key] for key in ("alertexitrange",) if key in settings}
    found |= {key: 1 for key in ("no_comp_alerts", "alerts_dont_count") if key in settings}
    for each_alert in given.alerts:
        found.setdefault(f"{each_alert.kind}s", []).append(alert(each_alert, of, hosts))
    return found


def alert(given: Alert, of: Service, hosts: list[str]) -> dict[str, Any]:
    """Return an alert in the words of the expected.json files."""
    enabled = " ".join(host for host in hosts if not host.startswith("*"))
    argv = [
        "-s",
        of.name,
        "-g",
        of.group,
        "-h",
        enabled,
        "-t",
        "TIME",
        *FLAGS.get(given.kind, []),
        *(given.words or ()),
    ]
    return {"script": given.script, "exit_range": given.exit_range or None, "argv": argv}


def plain(value: Any) -> Any:
    """Return a value in which numbers that are the same are equal, however they are written."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
