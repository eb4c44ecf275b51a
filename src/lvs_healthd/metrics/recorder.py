"""Metrics counted as things happen. Each instance has its own registry; label children are cached for the hot path."""

import errno
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

from lvs_healthd.events import kinds as events
from lvs_healthd.ipvs.drift import Kind
from lvs_healthd.ipvs.records import Verb
from lvs_healthd.metrics import sampled
from lvs_healthd.metrics.exposition import PREFIX
from lvs_healthd.metrics.tally import Distribution, Single, Tallies, Tally
from lvs_healthd.runtime.pace import chunks
from lvs_healthd.view.status_values import Samples

# Half again as many series, and Prometheus does not use them from the text format.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

PROBE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""From a TCP handshake in the rack (0.5 ms) over a default probe's timeout (1 s) to the longest sensible one. Per
service and check type only: per real server it would be 160 000 series for 10 000 servers."""

LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Starts come in 50 ms ticks, so up to there is normal; at half a second something is wrong; at 5 s everything is."""

LOOP_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
"""Milliseconds are normal, 0.05 is a whole tick lost, and beyond 1 s outcomes can no longer be trusted."""

RESYNC_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""A dump of few services takes a millisecond, of 10 000 real servers some hundred; beyond that the kernel is busy."""

DETECTION_BUCKETS = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60, 120)
"""Fine around the defaults: three failures 2 s apart make 4 s, with a timeout 5 s."""

_VERDICTS = ("up", "down")
_ERRORS = frozenset({*errno.errorcode.values(), "unknown"})


class Metrics:
    """All of the daemon's metrics.

    `samples` and `internals` are asked at each scrape: the daemon's state, and the numbers named in
    `sampled.INTERNALS`.
    """

    def __init__(
        self, *, samples: Callable[[], Awaitable[Samples]], internals: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._samples = samples
        self._internals = internals
        ProcessCollector(registry=self.registry)
        self._tallies = Tallies(PROBE_BUCKETS)
        self._transitions = self._counter(
            "real_server_transitions_total", "Changes of real servers' verdicts, by the new one.", ("service", "to")
        )
        self._events = self._counter(
            "events_total", "Events by name, as in the log, suppressed ones included.", ("event",)
        )
        self._operations = self._counter(
            "ipvs_operations_total", "Writes to the IPVS table, failed ones included.", ("operation",)
        )
        self._operation_errors = self._counter(
            "ipvs_operation_errors_total", "Writes to the IPVS table that failed, by errno.", ("operation", "error")
        )
        self._drift = self._counter(
            "drift_total", "Differences found in the kernel's table that we did not make.", ("kind",)
        )
        self._skipped = self._counter(
            "probes_skipped_total", "Turns of a check skipped because its last probe was still under way."
        )
        self._resync = self._histogram(
            "resync_duration_seconds", "Time to read the kernel's table whole.", RESYNC_BUCKETS
        )
        self._detection = self._histogram(
            "detection_seconds",
            "From the first failed probe to the kernel's acknowledgement that the server is out.",
            DETECTION_BUCKETS,
        )
        self._lag = self._single("schedule_lag_seconds", "How long after its due time a probe started.", LAG_BUCKETS)
        self._loop_lag = self._single("loop_lag_seconds", "How late the event loop ran a tick.", LOOP_LAG_BUCKETS)
        self.lag = self._lag.add
        """Note how long after its due time a probe started, seconds."""
        self.loop_lag = self._loop_lag.add
        """Note how late a tick came, seconds."""
        # A mass failure counts three times for each server: `labels` alone would take a quarter of its time.
        self._event_of = self._begin(self._events, (event.name for event in events.EVENTS))
        self._operation_of = self._begin(self._operations, (verb.value for verb in Verb))
        self._begin(self._drift, (kind.value for kind in Kind))
        self._transition_of: dict[tuple[str, str], Counter] = {}

    async def render(self) -> AsyncIterator[bytes]:
        """Write everything in Prometheus's text format, version 0.0.4, a chunk at a time while the event loop turns."""
        samples = await self._samples()
        yield generate_latest(self.registry)
        pieces = itertools.chain(self._tallies.pieces(), sampled.pieces(samples, self._internals()))
        async for chunk in chunks(pieces):
            yield chunk.encode("utf-8")

    def tally(self, service: str, check_type: str) -> Tally:
        """Return what counts the probes of a service's checks of this type."""
        for verdict in _VERDICTS:
            self._transitions.labels(service, verdict)
        return self._tallies.of(service, check_type)

    def skipped(self) -> None:
        """Note a turn that was skipped because the probe's last one was still under way."""
        self._skipped.inc()

    def operation(self, verb: str, ok: bool, error: str) -> None:  # noqa: FBT001  # the reconciler's observer
        """Count one write to the table; `error` is the errno's name, or "unknown"."""
        self._operation_of[verb].inc()
        if not ok:
            # A closed set: whatever is not an errno must not become a label of its own.
            self._operation_errors.labels(verb, error if error in _ERRORS else "other").inc()

    def resync(self, seconds: float) -> None:
        """Note how long it took to read the table whole."""
        self._resync.observe(seconds)

    def drift(self, kind: str) -> None:
        """Count one foreign change found."""
        self._drift.labels(kind).inc()

    def detection(self, seconds: float) -> None:
        """Note the time from a first failed probe to the acknowledged removal."""
        self._detection.observe(seconds)

    def listen(self, event: events.Event) -> None:
        """Count an event of the bus."""
        self._event_of[event.name].inc()
        match event:
            case events.RealServerUp(service=service):
                self._transition(service, "up").inc()
            case events.RealServerDown(service=service):
                self._transition(service, "down").inc()
            case _:
                pass

    def forget_service(self, name: str) -> None:
        """Drop the series of a service that is no longer configured."""
        self._tallies.forget(name)
        for verdict in _VERDICTS:
            self._transition_of.pop((name, verdict), None)
            self._transitions.remove(name, verdict)

    def _transition(self, service: str, to: str) -> Counter:
        counter = self._transition_of.get((service, to))
        if counter is None:
            counter = self._transition_of[service, to] = self._transitions.labels(service, to)
        return counter

    @staticmethod
    def _begin(counter: Counter, labels: Iterable[str]) -> dict[str, Counter]:
        """Let a counter with a closed set of labels begin at 0: `increase()` cannot see a new series' first step."""
        return {label: counter.labels(label) for label in labels}

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, text, registry=self.registry, buckets=buckets)

    def _single(self, name: str, text: str, bounds: tuple[float, ...]) -> Distribution:
        single = Single(PREFIX + name, text, bounds)
        self.registry.register(single)
        return single.distribution
