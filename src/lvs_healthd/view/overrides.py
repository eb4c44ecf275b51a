"""Lists what operators have ordered about servers, by verbs and by files in the maintenance folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.maintenance import Maintenance
from lvs_healthd.decide.overrides import are_configured, names_of
from lvs_healthd.state.overrides import EVERYWHERE, Override
from lvs_healthd.view.override_values import OverrideValues

NOBODY = -1
"""The user of a file: the daemon does not know who has made it."""


def listed_overrides(decisions: Decisions, is_lost: Callable[[Override], bool]) -> Iterator[OverrideValues]:
    """Describe the orders in force.

    is_lost: returns whether etcd has an order no more though nobody has ended it.
    """
    overrides = list(decisions.overrides)
    present, names = are_configured(decisions.services, overrides), names_of(decisions.services, overrides)
    for each, is_configured in zip(overrides, present, strict=True):
        yield OverrideValues(
            kind=each.kind,
            service=names[each.service],
            server=each.server,
            weight=each.weight,
            reason=each.reason,
            uid=each.uid,
            since=each.since,
            until=each.until,
            deadline=each.deadline,
            is_configured=is_configured,
            director=each.director,
            is_lost=is_lost(each),
        )
    yield from _of_files(decisions.overrides.maintenance)


def _of_files(maintenance: Maintenance) -> Iterator[OverrideValues]:
    for file in maintenance.folder.files.values():
        for server in file.places or (file.host or Path(file.path).name,):
            yield OverrideValues(
                kind="maintenance",
                service=EVERYWHERE,
                server=server,
                reason=maintenance.unused.get(file.path, ""),
                uid=NOBODY,
                since=file.since,
                is_configured=file.path in maintenance.drains,
                file=file.path,
            )
