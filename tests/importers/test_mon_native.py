"""A native check finds the same as the monitor that it stands for."""

import pytest

from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.once import run_once
from tests.importers.mon_states import STATES, TIMEOUT_S, State, behaviour
from tests.importers.test_mon_placing import SCRIPT, run, watch
from tests.probes.peers import free_port, stream_server


async def passes(monitor: str, port: int) -> bool:
    """Return what the check for a monitor finds."""
    text = watch("127.0.0.1", *SCRIPT, monitor=f"{monitor} -p {port} -t {TIMEOUT_S}")
    config, _ = run(text, f"-A -t 203.0.113.1:{port}", f"-a -t 203.0.113.1:{port} -r 127.0.0.1:{port} -g")
    (check,) = config.services[0].real_servers[0].checks
    return (await run_once([check]))[probe_key(check)].outcome.kind is OutcomeKind.UP


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.monitor}-{state.answers}")
async def test_check_finds_the_same_as_the_monitor(state: State) -> None:
    async with stream_server(behaviour(state)) as port:
        assert await passes(state.monitor, port) is state.passes


@pytest.mark.parametrize("monitor", ["http.monitor", "smtp.monitor", "pop3.monitor", "tcp.monitor"])
async def test_closed_port_is_down(monitor: str) -> None:
    assert not await passes(monitor, free_port())
