"""Says which lines of the kernel's table a reload would change, and which of them would have to wait for something.

The wanted table is computed as a reload would do it (`Decisions.foreseen`), and compared with the table as last read.
Nothing is changed for that.
"""

from collections.abc import AsyncIterator, Container

from lvs_healthd.config.model import Config
from lvs_healthd.daemon.parts import Parts, shadowed
from lvs_healthd.decide.decisions import Foreseen
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.ipvs.describe import describe
from lvs_healthd.ipvs.diff import line_of
from lvs_healthd.ipvs.drift import NOT_CONFIGURED
from lvs_healthd.ipvs.records import Operation, Table, TableLine, Verb
from lvs_healthd.reconcile.gate import Stop
from lvs_healthd.runtime.pace import paced
from lvs_healthd.view.reload_values import LineChange

WAITS_FOR_CHECKS = "when its checks have passed"
WAITS_FOR_OPERATOR = "when no operator keeps it out"
WAITS_FOR_OTHERS = "when enough others serve"

STOPS = {
    Stop.SHADOW: "when its mode is not shadow any more",
    Stop.HOLD: "when the hold is released",
    Stop.BRAKE: "when the brake is let go",
    Stop.VETO: "until other directors see it down too, five minutes at most",
    Stop.GUARD: "when a server that is to serve instead is in",
}


async def lines_changed(parts: Parts, config: Config) -> list[LineChange]:
    """Return the lines of the kernel's table that a reload of this configuration would change.

    Those that are written at once come first, in the order of the writes. The verdicts and the table are those of now.
    """
    actual, shadow = parts.reconciler.actual, parts.is_shadow(config)
    runs = parts.runs_paths(config)
    marked = parts.paths.foreseen(config, actual, runs=runs)
    seen = await parts.decisions.foreseen(config, actual, marked, runs_paths=runs)
    found = await parts.reconciler.foreseen(seen.wanted, seen.kept, shadow=shadow, shadowed=shadowed(config))
    lines = [
        LineChange(
            operation=each.told.operation,
            service=each.told.service,
            server=each.told.server,
            fields=each.told.fields,
            reason=each.told.reason,
            when=STOPS[each.stop] if each.stop is not None else "",
        )
        async for each in paced(found)
    ]
    lines.sort(key=lambda line: bool(line.when))
    written = {line_of(each.operation) for each in found}
    lines += [line async for line in _later(parts, config, seen, actual, written)]
    return lines


async def _later(
    parts: Parts, config: Config, seen: Foreseen, actual: Table, due: Container[TableLine]
) -> AsyncIterator[LineChange]:
    """Yield the changes of lines that a reload prepares, but that come only when something else has happened.

    A new server comes in when it is proven, and one that is configured no more may have to serve until then.

    due: the lines that would be written by now.
    """
    shadow, alone = parts.is_shadow(config), shadowed(config)
    for key, state in seen.changed.items():
        old = parts.decisions.service(key)
        known = {server.key for server in old.servers} if old is not None else set()
        present = actual[key].destinations if key in actual else {}
        stops = [STOPS[Stop.SHADOW]] if shadow or key in alone else []
        stops += [STOPS[Stop.HOLD]] if parts.reconciler.gate.is_held(key) else []
        async for server, planned in paced(zip(state.servers, state.planned.servers, strict=True)):
            if server.key not in known and server.key not in present and (key, server.key) not in due:
                is_out = server.special is not None and server.special.state is not None
                waits = WAITS_FOR_OPERATOR if is_out else WAITS_FOR_CHECKS
                operation = Operation(Verb.ADD_SERVER, state.planned.record, planned.record)
                yield _line(operation, state, seen.wanted.why[key, server.key].reason, [waits, *stops])
        for record in state.plan.leaving.values():
            operation = Operation(Verb.DELETE_SERVER, state.planned.record, record, record)
            yield _line(operation, state, NOT_CONFIGURED, [WAITS_FOR_OTHERS, *stops])


def _line(operation: Operation, state: ServiceState, reason: str, waits: list[str]) -> LineChange:
    return LineChange(
        operation=operation.verb.value,
        service=state.config.name,
        server=str(operation.destination.key) if operation.destination is not None else "",
        fields=describe(operation),
        reason=reason,
        when=" and ".join(waits),
    )
