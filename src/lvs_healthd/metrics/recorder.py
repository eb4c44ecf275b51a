"""Counts things as they happen, and renders all metrics at a scrape.

Each instance has its own registry. Counters with labels are cached for the hot path.
"""

import errno
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from lvs_healthd.events import kinds as events
from lvs_healthd.hooks.run import RESULTS
from lvs_healthd.ipvs.drift import Kind
from lvs_healthd.ipvs.records import Verb
from lvs_healthd.metrics import sampled
from lvs_healthd.metrics.exposition import PREFIX
from lvs_healthd.metrics.tally import Distribution, Single, Tallies, Tally
from lvs_healthd.runtime.pace import chunks
from lvs_healthd.view.status_values import Samples

# The `_created` metrics would add half as many series again, and Prometheus does not use them from the text format.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

PROBE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Buckets for the duration of probes, seconds. They range from a TCP handshake in the same rack (0.5 ms), past the
default timeout of a probe (1 s), to the longest sensible timeout. The histogram is per service and check type only,
because per real server, 10 000 servers would make 160 000 series."""

LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Buckets for late starts of probes, seconds. Probes start in ticks of 50 ms, so a lag up to that is normal. Half a
second means trouble, 5 s a disaster."""

LOOP_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
"""Buckets for late ticks, seconds. Milliseconds are normal, 0.05 s is a whole tick lost, and beyond 1 s most
probes with the default timeout take twice as long."""

RESYNC_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Buckets for the time to read the whole table, seconds. A few services take a millisecond, and 10 000 real servers
about a hundred. A longer time means that the kernel is busy."""

DETECTION_BUCKETS = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60, 120)
"""Buckets for the time to detection, seconds. They are fine-grained around the defaults: three failures 2 s apart take
4 s, or 5 s with a timeout."""

_VERDICTS = ("up", "down")
_USUAL_ERRORS = ("EPERM", "ENOENT", "EEXIST", "ESRCH", "EINVAL", "ENOMEM", "unknown", "other")
"""The errors of writes whose series begin at 0. The series of all other errors would be a thousand, and nearly always
stay at 0."""
_ERRORS = frozenset({*errno.errorcode.values(), "unknown"})


class Metrics:
    """All of the daemon's metrics.

    samples: returns the daemon's state; called at each scrape.
    internals: returns the numbers named in `sampled.INTERNALS`; called at each scrape.
    waiting: returns how many messages wait in each hook; called at each scrape.
    """

    def __init__(
        self,
        *,
        samples: Callable[[], Awaitable[Samples]],
        internals: Callable[[], Mapping[str, float]] = dict,
        waiting: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._samples = samples
        self._internals = internals
        self._waiting = waiting
        ProcessCollector(registry=self.registry)
        self._tallies = Tallies(PROBE_BUCKETS)
        self._transitions = self._counter(
            "real_server_transitions_total", "Changes of real servers' verdicts, by new verdict.", ("service", "to")
        )
        self._events = self._counter(
            "events_total", "Events by name, including those held back from the log.", ("event",)
        )
        self._operations = self._counter(
            "ipvs_operations_total", "Writes to the IPVS table, including failed ones.", ("operation",)
        )
        self._operation_errors = self._counter(
            "ipvs_operation_errors_total", "Writes to the IPVS table that failed, by errno.", ("operation", "error")
        )
        self._hook_messages = self._counter(
            "hook_messages_total", "Messages of hooks by what became of them.", ("hook", "result")
        )
        self._hooks_waiting = Gauge(
            PREFIX + "hook_messages_waiting",
            "Messages that wait to be told by a hook.",
            ("hook",),
            registry=self.registry,
        )
        self._drift = self._counter(
            "drift_total", "Differences found in the kernel's table that we did not make.", ("kind",)
        )
        self._skipped = self._counter(
            "probes_skipped_total", "Turns that a check skipped because its last probe was still under way."
        )
        self._warnings = self._counter(
            "early_warnings_total", "Probes that were started because a kept connection ended without a word."
        )
        self._resync = self._histogram(
            "resync_duration_seconds", "Time to read the kernel's whole table.", RESYNC_BUCKETS
        )
        self._detection = self._histogram(
            "detection_seconds",
            "Time from the first failed probe until the kernel acknowledges that the server is out of service.",
            DETECTION_BUCKETS,
        )
        self._lag = self._single("schedule_lag_seconds", "How long after its due time a probe started.", LAG_BUCKETS)
        self._loop_lag = self._single("loop_lag_seconds", "How late the event loop ran a tick.", LOOP_LAG_BUCKETS)
        self.lag = self._lag.add
        """Record how long after its due time a probe started, seconds."""
        self.loop_lag = self._loop_lag.add
        """Record how late a tick of the event loop came, seconds."""
        # A mass failure makes three counts per server. Calling `labels` for each would take a quarter of the time.
        self._event_of = self._begin(self._events, (event.name for event in events.EVENTS))
        self._operation_of = self._begin(self._operations, (verb.value for verb in Verb))
        self._begin(self._drift, (kind.value for kind in Kind))
        for verb in Verb:
            for error in _USUAL_ERRORS:
                self._operation_errors.labels(verb.value, error)
        self._transition_of: dict[tuple[str, str], Counter] = {}

    async def render(self) -> AsyncIterator[bytes]:
        """Yield all metrics in Prometheus's text format, version 0.0.4. The event loop runs in between."""
        samples = await self._samples()
        self._hooks_waiting.clear()
        for hook, waiting in self._waiting().items():
            self._hooks_waiting.labels(hook).set(waiting)
        yield generate_latest(self.registry)
        pieces = itertools.chain(self._tallies.pieces(), sampled.pieces(samples, self._internals()))
        async for chunk in chunks(pieces):
            yield chunk.encode("utf-8")

    def tally(self, service: str, check_type: str) -> Tally:
        """Return the tally that counts the probes of one service and check type."""
        for verdict in _VERDICTS:
            self._transitions.labels(service, verdict)
        return self._tallies.of(service, check_type)

    def warned(self) -> None:
        """Count a probe that was started because a kept connection ended without a word."""
        self._warnings.inc()

    def skipped(self) -> None:
        """Count a turn that a check skipped because its last probe was still under way."""
        self._skipped.inc()

    def operation(self, verb: str, ok: bool, error: str) -> None:  # noqa: FBT001  # the reconciler's observer
        """Count one write to the table.

        verb: the operation, a value of `Verb`.
        error: why the write failed: the errno's name, or "unknown".
        """
        self._operation_of[verb].inc()
        if not ok:
            # The set of labels is closed: an error that is not the name of an errno must not become a new label.
            self._operation_errors.labels(verb, error if error in _ERRORS else "other").inc()

    def resync(self, seconds: float) -> None:
        """Record how long it took to read the whole table, seconds."""
        self._resync.observe(seconds)

    def hook(self, hook: str, result: str, times: int) -> None:
        """Count messages of a hook.

        result: what became of them, one of `RESULTS`.
        times: how many messages; 0 to begin the series.
        """
        self._hook_messages.labels(hook, result).inc(times)

    def forget_hook(self, hook: str) -> None:
        """Drop the series of a hook that is no longer configured."""
        for result in RESULTS:
            self._hook_messages.remove(hook, result)

    def drift(self, kind: str) -> None:
        """Count one difference in the kernel's table that we did not make.

        kind: a value of `ipvs.drift.Kind`.
        """
        self._drift.labels(kind).inc()

    def detection(self, seconds: float) -> None:
        """Record the time from a server's first failed probe to its acknowledged removal, seconds."""
        self._detection.observe(seconds)

    def listen(self, event: events.Event) -> None:
        """Count an event from the bus."""
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
        """Start every label of a closed set at 0, because `increase()` misses a new series' first step."""
        return {label: counter.labels(label) for label in labels}

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, text, registry=self.registry, buckets=buckets)

    def _single(self, name: str, text: str, bounds: tuple[float, ...]) -> Distribution:
        single = Single(PREFIX + name, text, bounds)
        self.registry.register(single)
        return single.distribution
