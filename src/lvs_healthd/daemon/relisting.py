"""Reads the configuration in force again with what its sources list now. A list that does not fit it is left out."""

from collections.abc import Mapping
from typing import NamedTuple

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import relist
from lvs_healthd.config.model import Config
from lvs_healthd.config.parts import Whole
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.sources import Entry, Lists, Source
from lvs_healthd.config.stored import Stored
from lvs_healthd.runtime.threads import in_thread

READ_S = 20.0
"""How long reading files may take, seconds. Fifty thousand servers take 2 s, but a network file system may be slow."""


class Relisted(NamedTuple):
    """A configuration with the servers of its sources."""

    config: Config
    lists: dict[Source, tuple[Entry, ...]]
    """What its sources list in it."""
    refused: dict[Source, tuple[str, ...]]
    """The lists that do not fit it, each with the errors."""


async def relisted(
    whole: Whole, memory: LastReading, lists: Lists, new: Lists, stored: Stored | None = None
) -> Relisted:
    """Read a configuration with some new lists. Those that do not fit it are left out, each by itself.

    whole: the configuration's files, as they were read.
    memory: the services of the last reading.
    lists: the lists that are known to fit.
    new: those that are not.
    stored: what etcd says; None if nothing is known of that, or there is none.

    Raises `ConfigError` if the configuration does not even fit `lists`, and `HungError`.
    """
    if len(new) > 1:
        try:
            together = {**lists, **new}
            return Relisted(await _read(whole, memory, together, stored), together, {})
        except ConfigError:
            pass  # one of them may be the reason: try each by itself
    config: Config | None = None
    fitting, refused = dict(lists), dict[Source, tuple[str, ...]]()
    for source, entries in new.items():
        try:
            config = await _read(whole, memory, {**fitting, source: entries}, stored)
        except ConfigError as error:
            refused[source] = error.errors
        else:
            fitting[source] = entries
    if config is None:
        config = await _read(whole, memory, fitting, stored)
    return Relisted(config, fitting, refused)


async def _read(
    whole: Whole, memory: LastReading, lists: Mapping[Source, tuple[Entry, ...]], stored: Stored | None
) -> Config:
    what = "reading the configuration with the lists of its sources"
    return await in_thread(relist, whole, memory, lists, stored, timeout_s=READ_S, what=what)
