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
AT_ONCE = 20
"""To start ipvsadm costs more in an emulated guest than what it does; the tables have different services."""


@pytest.mark.parametrize("first", range(0, TABLES, AT_ONCE))
async def test_saved_tables_imported_and_run_are_the_same(director: Ipvsadm, first: int) -> None:
    tables = (random_table(random.Random(first + number), number) for number in range(AT_ONCE))
    director.restore("".join(line for table in tables for line in saved(table, thresholds=False)))
    text = director.saved()
    assert len(text.splitlines()) > 2 * AT_ONCE
    director.clear()
    await run(imported(table_of(text.splitlines(), "saved"), "ipvsadm -Sn").text)
    assert director.saved() == text


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
