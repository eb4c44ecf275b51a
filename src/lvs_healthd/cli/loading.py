"""Reads a configuration for a verb that works without the daemon, with the services of etcd as the daemon knew them."""

from pathlib import Path

from lvs_healthd.cli.asking import say
from lvs_healthd.config.load import about_store, read_files, relist
from lvs_healthd.config.model import Config
from lvs_healthd.config.parts import Whole
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.stored import Stored
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.state.stored import read_store, store_beside


def loaded(verb: str, file: Path) -> Config:
    """Read a configuration. Raises `ConfigError`.

    verb: the verb's name, for a message if services of etcd are not known.
    """
    files = read_files(file)
    return relist(files, LastReading(), None, remembered(verb, files))


def remembered(verb: str, files: Whole) -> Stored | None:
    """Return what etcd said last to the daemon of a configuration; None if there is no etcd, or that is not known."""
    fleet, daemon = about_store(files)
    if not fleet.store:
        return None
    path = store_beside(daemon.state)
    try:
        saved = read_store(path)
    except StateFileError as error:
        say(verb, f"the services of etcd are not known here: {error}")
        return None
    if saved is None or saved.stored.prefix != fleet.prefix:
        say(verb, f"the services of etcd are not known here: no daemon has kept them in {path} yet")
        return None
    return saved.stored
