"""Lists what operators have ordered about servers."""

from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.state.overrides import EVERYWHERE, Override
from lvs_healthd.view.override_values import OverrideValues


def listed_override(override: Override, decisions: Decisions) -> OverrideValues:
    """Describe one order."""
    service = next((each for each in decisions.services if str(each.key) == override.service), None)
    servers = decisions.servers if override.service == EVERYWHERE else service.servers if service is not None else ()
    return OverrideValues(
        kind=override.kind,
        service=override.service if service is None else service.config.name,
        server=override.server,
        weight=override.weight,
        reason=override.reason,
        uid=override.uid,
        since=override.since,
        until=override.until,
        deadline=override.deadline,
        is_configured=any(override.server in {str(each.key), each.key.address} for each in servers),
    )
