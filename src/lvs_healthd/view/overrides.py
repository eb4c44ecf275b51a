"""Lists what operators have ordered about servers."""

from collections.abc import Iterator

from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.overrides import are_configured, names_of
from lvs_healthd.view.override_values import OverrideValues


def listed_overrides(decisions: Decisions) -> Iterator[OverrideValues]:
    """Describe the orders in force."""
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
        )
