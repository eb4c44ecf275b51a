"""A table saved by ipvsadm, made into a configuration and run, is the same table again."""

import random

import pytest

from lab.ipvsadm import Ipvsadm
from lvs_healthd.config.imported import imported
from lvs_healthd.config.load import parse
from lvs_healthd.health import Health, Verdict
from lvs_healthd.ipvs.client import IpvsClient
from lvs_healthd.ipvs.commands import table_of
from lvs_healthd.ipvs.saved import saved
from lvs_healthd.plan import plan, prepare
from lvs_healthd.reconciler import Reconciler
from tests.ipvs.random_tables import random_table
from tests.kernel.fresh_network import director, network

__all__ = ["director", "network"]

DEADLINE_S = 60.0
TABLES = 200
PER_TEST = 50


@pytest.mark.parametrize("first", range(0, TABLES, PER_TEST))
async def test_saved_table_imported_and_run_is_the_same(director: Ipvsadm, first: int) -> None:
    for seed in range(first, first + PER_TEST):
        director.restore("".join(saved(random_table(random.Random(seed)), thresholds=False)))
        text = director.saved()
        assert text
        director.clear()
        configuration = imported(table_of(text.splitlines(), "saved"), "ipvsadm -Sn").text
        await run(configuration)
        assert director.saved() == text, f"seed {seed}"
        director.clear()


async def run(configuration: str) -> None:
    """Let the reconciler make the kernel's table what the configuration wants while every server is up."""
    services = prepare(parse(configuration, "imported"))
    up = {(service.key, server.key): Health(Verdict.UP, 0.0) for service in services for server in service.servers}
    client = IpvsClient(deadline_s=DEADLINE_S)
    reconciler = Reconciler(client, lambda _event: None, resync_s=60.0)
    try:
        await reconciler.open()
        actual = await reconciler.adopt()
        reconciler.want(plan(services, up, actual))
        await reconciler.turn()
        assert all(reconciler.in_sync(service.key) for service in services)
    finally:
        client.close()
