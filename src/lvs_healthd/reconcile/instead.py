"""Names the verb that would have done to last what somebody did with `ipvsadm`. Pure."""

import shlex

from lvs_healthd.ipvs.drift import Drift, Kind
from lvs_healthd.ipvs.records import Why


def instead(drift: Drift, service: str, why: Why | None) -> str:
    """Return the command that does the same and stays in force, such as "lvs-healthd drain web 192.0.2.1:80".

    service: the name of the service.
    why: why the server is in the wanted table as it is, or not in it; None for a server that is not configured.

    Empty if no verb does the same, because only an edit of the configuration can, or because the checks decide.
    """
    if drift.server is None or why is None or not why.takes_orders:
        return ""
    verb, weight = _verb(drift)
    words = [word for word in (verb, service, str(drift.server), weight) if word]
    return shlex.join(("lvs-healthd", *words)) if verb else ""


def _verb(drift: Drift) -> tuple[str, str]:
    """Return the verb, and the word that follows the server."""
    if drift.kind is Kind.MISSING_SERVER:
        return "disable", ""
    if drift.kind is not Kind.CHANGED_SERVER or drift.weight is None:
        return "", ""
    return ("weight", str(drift.weight)) if drift.weight else ("drain", "")
