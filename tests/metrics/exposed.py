"""What the daemon exposes: a scrape in which everything has happened once, and its metrics with their labels."""

import asyncio

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from lvs_healthd.events import kinds as events
from lvs_healthd.metrics import Metrics
from lvs_healthd.metrics.sampled import INTERNALS
from lvs_healthd.probes.outcome import up
from tests.statuses import sampled


class Described(msgspec.Struct, frozen=True):
    kind: str
    labels: frozenset[str]


def everything() -> bytes:
    """Return a scrape of a daemon in which everything has happened once."""
    metrics = Metrics(
        samples=sampled, internals=lambda: dict.fromkeys(INTERNALS, 1.0), waiting=lambda: {"mail.alert": 1}
    )
    metrics.hook("mail.alert", "sent", 1)
    metrics.tally("web", "http").add(up("ok"), 0.001)
    metrics.operation("add_server", False, "EPERM")
    metrics.drift("missing")
    metrics.listen(events.DaemonStopping(signal="SIGTERM"))

    async def gather() -> bytes:
        return b"".join([chunk async for chunk in metrics.render()])

    return asyncio.run(gather())


def in_code() -> dict[str, Described]:
    described = {}
    for family in text_string_to_metric_families(everything().decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels if label != "le"}
        assert family.samples, f"{name} was never given a value"
        described[name] = Described(kind=family.type, labels=frozenset(labels))
    return described
