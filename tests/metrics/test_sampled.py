"""The metrics that are read from the daemon's state at each scrape."""

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lvs_healthd.metrics.sampled import pieces
from lvs_healthd.view.hold_values import HoldStatus
from lvs_healthd.view.status_values import Status
from tests import statuses
from tests.statuses import NOW, STATISTICS, real_server, service


def read(status: Status) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the metrics' values by name and label values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families("".join(pieces(statuses.samples(status), {}))):
        for sample in family.samples:
            series = found.setdefault(sample.name.removeprefix("lvs_healthd_"), {})
            labels = tuple(sample.labels.values())
            assert labels not in series, "the same series twice"
            series[labels] = sample.value
    return found


def test_real_server_is_up_or_down_and_has_no_sample_while_it_is_unknown() -> None:
    found = read(statuses.status())
    assert found["real_server_up"] == {
        ("web", "198.51.100.11:80"): 1,
        ("web", "198.51.100.12:80"): 0,
        ('odd "name"\\', "[2001:db8::11]:8080"): 0,
    }
    assert found["service_real_servers"]["web", "unknown"] == 1


def test_announced_address_has_samples_of_what_is_wanted_and_of_what_is_and_none_in_shadow_mode() -> None:
    names = ("announced", "announced_present", "announce_error")
    away = msgspec.structs.replace(statuses.ANNOUNCED, present=False, error="there is no lvs0")
    unknown = msgspec.structs.replace(statuses.ANNOUNCED, vip="192.0.2.101", wanted=None, present=None)
    shadow = msgspec.structs.replace(away, vip="192.0.2.102", shadow=True)
    found = read(Status(daemon=statuses.daemon(announced=(away, unknown, shadow)), services=()))
    here, other = ("192.0.2.100", "lvs0"), ("192.0.2.101", "lvs0")
    assert [found[name] for name in names] == [{here: 1}, {here: 0}, {here: 1, other: 0}]


def test_remarks_on_the_configuration_are_counted() -> None:
    status = Status(daemon=statuses.daemon(config_remarks=("config.toml:9: late", "config.toml:10: late")), services=())
    assert read(status)["config_remarks"] == {(): 2}
    assert read(statuses.status())["config_remarks"] == {(): 0}


def test_faults_of_the_own_network_are_counted() -> None:
    found = read(Status(daemon=statuses.daemon(network_faults=("our interface eth1 has no carrier",)), services=()))
    assert found["network_faults"] == {(): 1}
    assert read(statuses.status())["network_faults"] == {(): 0}


def test_advice_is_counted_and_a_state_that_is_not_saved_is_1() -> None:
    found = read(Status(daemon=statuses.daemon(setting_advice=("a", "b"), state_error="full"), services=()))
    assert (found["setting_advice"], found["state_error"]) == ({(): 2}, {(): 1})
    found = read(statuses.status())
    assert (found["setting_advice"], found["state_error"]) == ({(): 0}, {(): 0})


def test_maintenance_folder_is_counted() -> None:
    names = ("maintenance_files", "maintenance_files_unused", "maintenance_error")
    found = read(Status(daemon=statuses.daemon(), services=()))
    assert [found[name] for name in names] == [{(): 3}, {(): 0}, {(): 0}]
    found = read(Status(daemon=statuses.daemon(maintenance_error="hangs", maintenance_unused=("a", "b")), services=()))
    assert [found[name] for name in names] == [{(): 3}, {(): 2}, {(): 1}]


def test_clock_that_is_suspected_is_1() -> None:
    assert read(Status(daemon=statuses.daemon(clock_suspected="why"), services=()))["clock_suspected"] == {(): 1}
    assert read(statuses.status())["clock_suspected"] == {(): 0}


def test_each_hold_has_the_time_since_when() -> None:
    whole = HoldStatus(service="", since=1_700_000_000.25, uid=0)
    found = read(Status(daemon=statuses.daemon(holds=(statuses.HOLD, whole)), services=()))
    assert found["hold_start_timestamp_seconds"] == {("web",): statuses.NOW - 60, ("",): 1_700_000_000.25}
    assert "hold_start_timestamp_seconds" not in read(statuses.status())


def test_each_way_that_is_braked_has_the_time_since_when() -> None:
    found = read(Status(daemon=statuses.daemon(brakes=(statuses.BRAKE,)), services=()))
    assert found["brake_start_timestamp_seconds"] == {("eth1",): statuses.NOW - 5}
    assert "brake_start_timestamp_seconds" not in read(statuses.status())


def test_weights_that_are_not_in_a_table_have_no_sample() -> None:
    found = read(statuses.status())
    assert found["real_server_weight_configured"]["web", "198.51.100.12:80"] == 2
    assert found["real_server_weight_wanted"] == {("web", "198.51.100.11:80"): 2, ("web", "198.51.100.13:80"): 1}
    assert found["real_server_weight_actual"] == {
        ("web", "198.51.100.11:80"): 2,
        ("web", "198.51.100.13:80"): 1,
        ('odd "name"\\', "[2001:db8::11]:8080"): 1,
    }


def test_times_keep_all_their_digits() -> None:
    status = Status(daemon=statuses.daemon(), services=(service("web", real_server("s", since=1_700_000_000.123456)),))
    assert read(status)["real_server_last_change_timestamp_seconds"]["web", "s"] == 1_700_000_000.123456


def test_last_probe_duration_is_per_check_and_absent_before_the_first_probe() -> None:
    assert read(statuses.status())["real_server_last_probe_duration_seconds"] == {
        ("web", "198.51.100.11:80", "http"): 0.0021,
        ("web", "198.51.100.12:80", "http"): 0.0021,
        ('odd "name"\\', "[2001:db8::11]:8080", "http"): 0.0021,
    }


def test_end_of_a_certificate_is_per_check_and_absent_without_one() -> None:
    found = read(statuses.status())["real_server_certificate_expiry_timestamp_seconds"]
    assert found == {("web", "198.51.100.11:80", "http"): NOW + 86400}


def test_services_count_checks_whose_certificate_ends_soon() -> None:
    servers = [statuses.real_server(f"198.51.100.1{n}:443", remark="the certificate ends" * (n < 2)) for n in range(3)]
    found = read(Status(daemon=statuses.daemon(), services=(statuses.service("web", *servers),)))
    assert found["service_certificates_ending"] == {("web",): 2}


def test_services_count_servers_that_are_damped() -> None:
    held = msgspec.structs.replace(statuses.real_server("198.51.100.11:443"), state="damped")
    other = statuses.real_server("198.51.100.12:443")
    found = read(Status(daemon=statuses.daemon(), services=(statuses.service("web", held, other),)))
    assert found["service_real_servers_damped"] == {("web",): 1}


def test_services_count_checks_whose_verdict_is_only_held() -> None:
    servers = [statuses.real_server(f"198.51.100.1{n}:443", remark="only held" * (n < 2)) for n in range(3)]
    found = read(Status(daemon=statuses.daemon(), services=(statuses.service("web", *servers),)))
    assert found["service_checks_stale"] == {("web",): 2}


def test_services_count_their_servers_without_fallback_ones() -> None:
    found = read(statuses.status())
    assert found["service_real_servers"] == {
        ("web", "up"): 1,
        ("web", "down"): 1,
        ("web", "unknown"): 1,
        ('odd "name"\\', "up"): 0,
        ('odd "name"\\', "down"): 1,
        ('odd "name"\\', "unknown"): 0,
    }
    assert found["service_in_fallback"] == {("web",): 0, ('odd "name"\\',): 1}
    assert found["service_in_sync"] == {("web",): 1, ('odd "name"\\',): 0}


def test_traffic_is_the_kernels_of_lines_that_are_in_its_table() -> None:
    found = read(statuses.status())
    # The other service is not in the kernel's table.
    assert found["service_connections_total"] == {("web",): STATISTICS.connections}
    names = {
        "real_server_connections_total": "connections",
        "real_server_incoming_packets_total": "in_packets",
        "real_server_outgoing_packets_total": "out_packets",
        "real_server_incoming_bytes_total": "in_bytes",
        "real_server_outgoing_bytes_total": "out_bytes",
        "real_server_active_connections": "active_connections",
        "real_server_inactive_connections": "inactive_connections",
        "real_server_persistent_connections": "persistent_connections",
    }
    for name, field in names.items():
        number = getattr(STATISTICS, field)
        assert found[name] == {("web", "198.51.100.11:80"): number, ("web", "198.51.100.13:80"): number}, name
        if name.endswith("_total"):
            assert found[name.replace("real_server", "service")] == {("web",): number}


def test_templates_are_told_of_persistent_services_only() -> None:
    samples = statuses.samples(statuses.status())
    plain = [msgspec.structs.replace(each, is_persistent=False) for each in samples.services]
    text = "".join(pieces(msgspec.structs.replace(samples, services=tuple(plain)), {}))
    assert "lvs_healthd_real_server_active_connections{" in text
    assert "lvs_healthd_real_server_persistent_connections{" not in text


def test_server_that_is_also_the_fallback_is_one_series() -> None:
    status = Status(
        daemon=statuses.daemon(), services=(service("web", real_server("s"), real_server("s", fallback=True)),)
    )
    assert read(status)["real_server_up"] == {("web", "s"): 1}


def test_daemon_in_order() -> None:
    found = read(statuses.status())
    assert found["build_info"] == {("0.1.0",): 1}
    assert found["start_time_seconds"] == {(): NOW - 7200}
    assert found["mode"] == {("enforce",): 1, ("shadow",): 0}
    assert found["config_last_reload_successful"] == {(): 1}
    assert found["config_last_reload_success_timestamp_seconds"] == {(): NOW - 3600}
    assert found["table_error"] == {(): 0}
    assert found["last_resync_timestamp_seconds"] == {(): NOW - 3.25}
    assert found["resync_interval_seconds"] == {(): 10.0}


def test_daemon_in_trouble() -> None:
    daemon = statuses.daemon(mode="shadow", config_error="line 3", table_error="EPERM", last_resync=None)
    found = read(msgspec.structs.replace(statuses.status(), daemon=daemon))
    assert found["mode"] == {("enforce",): 0, ("shadow",): 1}
    assert found["config_last_reload_successful"] == {(): 0}
    assert found["table_error"] == {(): 1}
    assert "last_resync_timestamp_seconds" not in found


@pytest.mark.parametrize("name", ["line\nbreak", 'quote"', "back\\slash", "\\n", "\udc80", "日本"])
def test_any_name_is_a_valid_label(name: str) -> None:
    status = Status(daemon=statuses.daemon(), services=(service(name, real_server("s")),))
    expected = name.replace("\udc80", "?")
    assert list(read(status)["real_server_up"]) == [(expected, "s")]
