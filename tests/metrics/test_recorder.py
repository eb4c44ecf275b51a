"""What `Metrics` counts, read back from its exposition."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lvs_healthd.events import kinds as events
from lvs_healthd.metrics import Metrics
from lvs_healthd.probes.outcome import Reason, down, unsure, up
from tests.statuses import sampled


def rendered(metrics: Metrics) -> str:
    async def gather() -> bytes:
        return b"".join([chunk async for chunk in metrics.render()])

    return asyncio.run(gather()).decode()


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(rendered(metrics))
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get(("lvs_healthd_" + name, frozenset(labels.items())))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(samples=sampled)


def test_outcomes_are_counted_by_service_type_status_and_reason(metrics: Metrics) -> None:
    for outcome in (up("ok"), up("ok"), down(Reason.REFUSED, "connection refused")):
        metrics.tally("web", "http").add(outcome, 0.001)
    metrics.tally("mail", "tcp").add(up("ok"), 0.001)
    counted = {
        labels: value(metrics, "probes_total", service=labels[0], type=labels[1], status=labels[2], reason=labels[3])
        for labels in [
            ("web", "http", "up", "passed"),
            ("web", "http", "down", "refused"),
            ("mail", "tcp", "up", "passed"),
        ]
    }
    assert list(counted.values()) == [2, 1, 1]


def test_duration_counts_good_and_bad_outcomes_but_not_unsure_ones(metrics: Metrics) -> None:
    metrics.tally("web", "http").add(up("ok"), 0.003)
    metrics.tally("web", "http").add(down(Reason.TIMEOUT, "no answer in 1s"), 1.0002)
    metrics.tally("web", "http").add(unsure(Reason.LOCAL_LIMIT, "too many open files"), 0.001)
    labels = {"service": "web", "type": "http"}
    assert value(metrics, "probe_duration_seconds_count", **labels) == 2
    assert value(metrics, "probe_duration_seconds_sum", **labels) == pytest.approx(1.0032)
    assert value(metrics, "probe_duration_seconds_bucket", le="0.005", **labels) == 1


def test_transitions_start_at_zero_with_the_first_probe_and_count_each_direction(metrics: Metrics) -> None:
    metrics.tally("web", "http").add(up("ok"), 0.001)
    assert value(metrics, "real_server_transitions_total", service="web", to="down") == 0
    metrics.listen(
        events.RealServerDown(
            service="web", server="s", check="http", reason="", failures=3, fall=3, was="up", after_s=1.0
        )
    )
    assert value(metrics, "real_server_transitions_total", service="web", to="down") == 1
    assert value(metrics, "real_server_transitions_total", service="web", to="up") == 0
    metrics.listen(
        events.RealServerUp(
            service="web", server="s", check="http", reason="", passes=2, rise=2, was="down", after_s=1.0
        )
    )
    assert value(metrics, "real_server_transitions_total", service="web", to="up") == 1


def test_every_event_has_its_counter_from_the_start(metrics: Metrics) -> None:
    assert all(value(metrics, "events_total", event=event.name) == 0 for event in events.EVENTS)
    metrics.listen(events.StateError(file="f", error="e"))
    assert value(metrics, "events_total", event="state.error") == 1


def test_counters_begin_at_zero_so_that_their_first_step_is_seen(metrics: Metrics) -> None:
    metrics.tally("web", "http")
    labels = {"service": "web", "type": "http"}
    assert value(metrics, "probes_total", status="up", reason="passed", **labels) == 0
    assert value(metrics, "probes_total", status="down", reason="refused", **labels) == 0
    assert value(metrics, "probes_total", status="unsure", reason="stalled", **labels) == 0
    assert value(metrics, "probe_duration_seconds_count", **labels) == 0
    assert value(metrics, "ipvs_operation_errors_total", operation="add_server", error="EPERM") == 0


def test_operations_and_their_errors_are_counted_by_errno_and_nothing_else_becomes_a_label(metrics: Metrics) -> None:
    assert value(metrics, "ipvs_operations_total", operation="delete_server") == 0
    metrics.operation("add_server", True, "")
    metrics.operation("add_server", False, "EPERM")
    metrics.operation("add_server", False, "the kernel says: whatever it likes")
    assert value(metrics, "ipvs_operations_total", operation="add_server") == 3
    assert value(metrics, "ipvs_operation_errors_total", operation="add_server", error="EPERM") == 1
    assert value(metrics, "ipvs_operation_errors_total", operation="add_server", error="other") == 1


def test_durations_of_each_part_go_to_their_own_histogram(metrics: Metrics) -> None:
    metrics.resync(0.25)
    metrics.detection(4.5)
    metrics.lag(0.03)
    metrics.loop_lag(0.002)
    sums = [
        value(metrics, f"{name}_sum")
        for name in ("resync_duration_seconds", "detection_seconds", "schedule_lag_seconds", "loop_lag_seconds")
    ]
    assert sums == [0.25, 4.5, 0.03, 0.002]


def test_drift_and_skipped_turns_are_counted(metrics: Metrics) -> None:
    metrics.drift("missing")
    metrics.skipped()
    assert value(metrics, "drift_total", kind="missing") == 1
    assert value(metrics, "probes_skipped_total") == 1


def test_forgotten_service_leaves_no_series_and_may_come_back_at_zero(metrics: Metrics) -> None:
    for service in ("web", "mail"):
        metrics.tally(service, "http").add(up("ok"), 0.001)
        metrics.tally(service, "http").add(down(Reason.RESET, "reset"), 0.001)
    metrics.forget_service("web")
    left = {
        dict(labels).get("service") for name, labels in samples(metrics) if "probe" in name or "transitions" in name
    }
    assert "mail" in left
    counted = [
        dict(labels)
        for name, labels in samples(metrics)
        if dict(labels).get("service") == "web" and ("real_server_" not in name or "transitions" in name)
    ]
    assert [labels for labels in counted if "type" in labels or "to" in labels] == []
    metrics.tally("web", "http").add(up("ok"), 0.001)
    assert value(metrics, "probes_total", service="web", type="http", status="up", reason="passed") == 1


def test_instances_share_nothing() -> None:
    first, second = Metrics(samples=sampled), Metrics(samples=sampled)
    first.skipped()
    assert value(second, "probes_skipped_total") == 0


def test_own_process_is_measured(metrics: Metrics) -> None:
    open_descriptors = samples(metrics)["process_open_fds", frozenset()]
    assert open_descriptors > 0


def test_internals_are_asked_at_each_scrape_and_a_misspelt_one_is_an_error() -> None:
    numbers: dict[str, float] = {"probes_in_flight": 7}
    metrics = Metrics(samples=sampled, internals=lambda: numbers)
    assert value(metrics, "probes_in_flight") == 7
    assert value(metrics, "probes_waiting") is None
    numbers["probes_in_flight"] = 8
    assert value(metrics, "probes_in_flight") == 8
    numbers["probes_in_fligth"] = 8
    with pytest.raises(KeyError, match="probes_in_fligth"):
        rendered(metrics)
