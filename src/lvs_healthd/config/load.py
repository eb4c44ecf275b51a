"""Reads a configuration, with the files that it includes, into records. Reports all errors and remarks at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from lvs_healthd.config.checks import CheckReader
from lvs_healthd.config.errors import ConfigError, Errors
from lvs_healthd.config.fleet import read_fleet, validate_sources
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.general_keys import BRAKE_KEYS, DAEMON_KEYS, DEFAULTS_KEYS, TOP_KEYS
from lvs_healthd.config.hooks import read_hooks
from lvs_healthd.config.ipvs import read_ipvs, validate_ipvs
from lvs_healthd.config.model import Brake, Config, Daemon
from lvs_healthd.config.pair import read_pair, validate_pair
from lvs_healthd.config.parts import Whole, joined, whole
from lvs_healthd.config.pools import Pools
from lvs_healthd.config.public import remark_public_secret, remark_public_secret_files
from lvs_healthd.config.readymade import Shelf, search_path
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.schema import read_table
from lvs_healthd.config.service_defaults import read_service_defaults
from lvs_healthd.config.services import ForServices, read_services
from lvs_healthd.config.sources import Lists
from lvs_healthd.config.stored import Stored, stored_parts
from lvs_healthd.config.text import DEFAULT_FILE, read_text

__all__ = ["DEFAULT_FILE", "ConfigError", "about_store", "load", "parse", "read_files", "relist"]


_Read = TypeVar("_Read")


def load(
    path: Path, memory: LastReading | None = None, lists: Lists | None = None, stored: Stored | None = None
) -> Config:
    """Read a configuration file.

    memory: the services of the last reading. A service that has not changed since then is returned as the same object.
    lists: what sources list; None if nobody has asked them.
    stored: what etcd says; None if nothing is known of that, or there is none.

    Raises only `ConfigError`, which holds every error.
    """
    text = str(path)
    return _never_failing(text, lambda: parse(read_text(path), text, memory=memory, lists=lists, stored=stored))


def read_files(path: Path) -> Whole:
    """Read a configuration file and those that it includes, for `about_store` and `relist`. Raises `ConfigError`."""
    return _never_failing(str(path), lambda: whole(read_text(path), str(path)))


def about_store(files: Whole) -> tuple[Fleet, Daemon]:
    """Return what a configuration says of etcd, and of the daemon, before etcd can be asked for the rest.

    What is wrong with that is told by `relist`.
    """
    errors = Errors("", "")
    return read_fleet(files.document.get("fleet", {}), errors), Daemon(
        **read_table(files.document.get("daemon", {}), ("daemon",), DAEMON_KEYS, errors).values
    )


def relist(again: Whole, memory: LastReading, lists: Lists | None, stored: Stored | None = None) -> Config:
    """Return a configuration that has been read before, with other servers or services. No file is read again.

    again: the configuration's files, as `memory` has kept them.
    memory: the services of the last reading, as for `load`.
    lists: what sources list.
    stored: what etcd says, as for `load`.

    Raises only `ConfigError`, which holds every error.
    """
    return _never_failing(again.parts[0].file, lambda: _records(again, memory, lists, stored))


def _never_failing(file: str, read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except ConfigError:
        raise
    except Exception as error:  # a file must never end a running daemon
        text = f"{file}: lvs-healthd failed to read it because of an internal error: {type(error).__name__}: {error}"
        raise ConfigError((text,)) from error


def helper_socket(daemon: Daemon) -> str:
    """Return the path of the Unix socket of the process that runs programs."""
    return daemon.exec_socket or str(Path(daemon.control).with_name("exec.sock"))


def parse(
    text: str,
    file: str,
    *,
    checks_dirs: Sequence[Path] | None = None,
    memory: LastReading | None = None,
    lists: Lists | None = None,
    stored: Stored | None = None,
) -> Config:
    """Read a configuration from text.

    file: path of the file, for error messages and for the default of `checks_dirs`.
    checks_dirs: the directories in which to search for ready-made checks. Default: `search_path(file)`.
    memory: the services of the last reading. A service that has not changed since then is returned as the same object.
    lists: what sources list; None if nobody has asked them.
    stored: what etcd says; None if nothing is known of that, or there is none.

    Raises only `ConfigError`, which holds every error.
    """
    return _records(whole(text, file), memory or LastReading(), lists, stored, checks_dirs)


def _records(
    files: Whole,
    memory: LastReading,
    lists: Lists | None,
    stored: Stored | None,
    checks_dirs: Sequence[Path] | None = None,
) -> Config:
    """Turn the document of a configuration into records. The arguments are those of `parse`."""
    document, parts, twice = files if stored is None else joined([*files.parts, *stored_parts(stored)])
    file = parts[0].file
    errors = Errors(file, parts[0].text, parts)
    shelf = Shelf(search_path(file) if checks_dirs is None else checks_dirs)
    top = read_table(document, (), TOP_KEYS, errors).values
    daemon = read_table(top.get("daemon", {}), ("daemon",), DAEMON_KEYS, errors).values
    helper = helper_socket(Daemon(**daemon))
    reader = CheckReader(shelf, errors, helper)
    if daemon.get("control", Daemon().control) == daemon.get("state", Daemon().state):
        errors.add(("daemon", "state"), "the same as control, which is a socket; state needs a file of its own")
    brake = read_table(top.get("brake", {}), ("brake",), BRAKE_KEYS, errors).values
    pair, pair_table = read_pair(top.get("pair", {}), errors)
    fleet = read_fleet(top.get("fleet", {}), errors)
    ipvs = read_ipvs(top.get("ipvs", {}), errors)
    defaults = read_table(top.get("defaults", {}), ("defaults",), DEFAULTS_KEYS, errors).values
    reader.read_defaults(defaults.get("check", {}), ("defaults", "check"))
    reader.read_named(top.get("check", {}))
    service_defaults = read_service_defaults(defaults.get("service", {}), reader, errors)
    memory.begin((file, defaults, top.get("check"), helper), shelf)
    around = ForServices(ipvs, reader, memory, service_defaults, Pools(top.get("pool", {}), errors, lists))
    services = read_services(top.get("service", []), around, errors)
    for part in parts:
        remark_public_secret(part, errors)
        remark_public_secret_files(part, errors)
    validate_sources(fleet, services, errors)
    hooks = read_hooks(top.get("hook", []), services, errors)
    validate_ipvs(ipvs, services, errors)
    validate_pair(pair, pair_table, Daemon(**daemon), services, errors)
    if top.get("service", []) == [] and not fleet.store:
        errors.remark((), "no [[service]]: nothing is probed, and the table stays as it is, until a reload brings one")
    found, remarks = (*twice, *errors.texts(), *shelf.errors), (*errors.remark_texts(), *shelf.remarks)
    if found:
        raise ConfigError(found, remarks)
    memory.keep(files if fleet.store or any(service.sources for service in services) else None)
    return Config(
        daemon=Daemon(**daemon),
        ipvs=ipvs,
        brake=Brake(**brake),
        pair=pair,
        fleet=fleet,
        services=services,
        hooks=hooks,
        remarks=remarks,
    )
