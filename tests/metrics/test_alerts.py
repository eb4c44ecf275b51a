"""The alert rules, tested with Prometheus's own promtool. Each case is a director's metrics over some minutes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ALERTS = Path(__file__).parents[2] / "docs" / "prometheus-alerts.yml"

SERVER = '{instance="lvs1", service="web", server="198.51.100.11:80"}'
SERVICE = '{instance="lvs1", service="web"}'
DRAINED = '{instance="lvs1", service="web", server="198.51.100.11:80", kind="drain"}'
UNSURE = 'lvs_healthd_probes_unsure{instance="lvs1"}'
UNSURE_TOTAL = 'lvs_healthd_probes_total{instance="lvs1", service="web", status="unsure", reason="stalled"}'
READ = 'lvs_healthd_last_resync_timestamp_seconds{instance="lvs1"}'
INTERVAL = 'lvs_healthd_resync_interval_seconds{instance="lvs1"}'
ENDS = "lvs_healthd_real_server_certificate_expiry_timestamp_seconds"
DAY = 86400
ENFORCED = 'lvs_healthd_mode{instance="lvs1", mode="enforce"}'
SHADOWED = f"lvs_healthd_service_shadow{SERVICE}"
BRAKE = 'lvs_healthd_brake_start_timestamp_seconds{instance="lvs1", way="eth1"}'
IN_SYNC = f"lvs_healthd_service_in_sync{SERVICE}"


def firing(series: dict[str, str], alert: str, *, at: str, folder: Path) -> bool:
    """Whether `alert` fires at the time `at`. Each series is in promtool's notation, with a value every 15 seconds."""
    case: dict[str, Any] = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}],
    }
    file = folder / "case.yml"
    # promtool reads YAML, and JSON is valid YAML.
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [case]}))
    ran = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    said = ran.stdout + ran.stderr
    if ran.returncode == 0:
        return False
    assert f"alertname:{alert}" in said.replace(" ", ""), said
    assert "got:[" in said, said
    return True


ACTIVE, SUSPENDED = f"lvs_healthd_service_active{SERVICE}", f"lvs_healthd_service_suspended{SERVICE}"
FALLBACK = f"lvs_healthd_service_in_fallback{SERVICE}"
OTHER = 'lvs_healthd_service_active{instance="lvs2", service="web"}'
STALE = 'lvs_healthd_service_checks_stale{instance="lvs1", service="web"}'
DAMPED = 'lvs_healthd_service_real_servers_damped{instance="lvs1", service="web"}'
HOOK_FAILED = 'lvs_healthd_hook_messages_total{instance="lvs1", hook="mail", result="failed"}'
HOOK_SENT = HOOK_FAILED.replace("failed", "sent")
CASES = [
    ("LvsHealthdGone", {'up{job="lvs-healthd", instance="lvs1"}': "1x3 0x20"}, "5m", True),
    ("LvsHealthdGone", {'up{job="lvs-healthd", instance="lvs1"}': "1x3 0x1 1x20"}, "5m", False),
    # A director that starts proves its servers one after another. That is neither an outage nor flapping.
    ("LvsServiceInFallback", {f"lvs_healthd_service_in_fallback{SERVICE}": "1x1 0x20"}, "1m", False),
    ("LvsServiceInFallback", {f"lvs_healthd_service_in_fallback{SERVICE}": "0x3 1x20"}, "3m", True),
    ("LvsServiceBelowMinUp", {f"lvs_healthd_service_below_min_up{SERVICE}": "0x3 1x20"}, "3m", True),
    (
        "LvsServiceBelowMinUp",
        {
            f"lvs_healthd_service_below_min_up{SERVICE}": "0x3 1x20",
            f"lvs_healthd_service_in_fallback{SERVICE}": "0x3 1x20",
        },
        "3m",
        False,
    ),
    *(
        pytest.param(
            *("LvsOverrideForgotten", {f"lvs_healthd_real_server_override_timestamp_seconds{DRAINED}": "0x9000"}),
            *(age, fires),
            marks=pytest.mark.long,  # promtool goes through all of these hours in steps of seconds
        )
        for age, fires in (("23h", False), ("25h", True))
    ),
    ("LvsFallbackDown", {f"lvs_healthd_fallback_up{SERVER}": "0x40"}, "6m", True),
    ("LvsFallbackDown", {f"lvs_healthd_fallback_up{SERVER}": "0x8 1x40"}, "6m", False),
    ("LvsServiceFailsOpen", {f"lvs_healthd_service_fails_open{SERVICE}": "0x3 1x20"}, "3m", True),
    ("LvsRealServerFlaps", {f"lvs_healthd_real_server_up{SERVER}": "_ _ 0 1x60"}, "10m", False),
    ("LvsRealServerFlaps", {f"lvs_healthd_real_server_up{SERVER}": "1 1 0 0 1 1 0 0 1 1 0 0 1 1 0 0"}, "4m", True),
    ("LvsRealServerDown", {f"lvs_healthd_real_server_up{SERVER}": "1x3 0x20"}, "3m", True),
    ("LvsClockSuspected", {'lvs_healthd_clock_suspected{instance="lvs1"}': "0x3 1x20"}, "3m", True),
    ("LvsClockSuspected", {'lvs_healthd_clock_suspected{instance="lvs1"}': "0x3 1x1 0x20"}, "3m", False),
    # A certificate of 20 days, and one of 13 days beside it.
    ("LvsCertificateEnds", {f"{ENDS}{SERVER}": f"{20 * DAY}x80"}, "20m", False),
    ("LvsCertificateEnds", {f"{ENDS}{SERVER}": f"{13 * DAY}x80"}, "20m", True),
    ("LvsCertificateEnds", {f"{ENDS}{SERVER}": f"{13 * DAY}x20 {90 * DAY}x60"}, "20m", False),
    # A dead probe worker counts no more probes, yet the probes it had are blind.
    (
        "LvsProbesUnsure",
        {
            UNSURE_TOTAL: "7x40",
            UNSURE: "0x3 500x40",
        },
        "8m",
        True,
    ),
    # Only a few probes are unsure: the gauge rarely shows one at a scrape, but the counter grows.
    (
        "LvsProbesUnsure",
        {
            UNSURE_TOTAL: "0+1x60",
            UNSURE: "0x60",
        },
        "12m",
        True,
    ),
    ("LvsProbesUnsure", {UNSURE: "0x3 9x3 0x40"}, "8m", False),
    ("LvsNetworkImpaired", {'lvs_healthd_network_faults{instance="lvs1"}': "0x3 1x20"}, "3m", True),
    ("LvsNetworkImpaired", {'lvs_healthd_network_faults{instance="lvs1"}': "0x3 1x2 0x20"}, "3m", False),
    (
        "LvsBrake",
        {'lvs_healthd_brake_start_timestamp_seconds{instance="lvs1", way="eth1"}': "_x3 1700000000x20"},
        "3m",
        True,
    ),
    ("LvsTableOutOfSync", {IN_SYNC: "0x40", ENFORCED: "1x40", SHADOWED: "0x40"}, "5m", True),
    ("LvsTableOutOfSync", {IN_SYNC: "0x40", ENFORCED: "1x40", SHADOWED: "1x40"}, "5m", False),
    ("LvsBrake", {BRAKE: "_x3 1700000000x20"}, "3m", True),
    ("LvsBrake", {BRAKE: "1x2 stale"}, "3m", False),
    ("LvsTableHeld", {'lvs_healthd_hold_start_timestamp_seconds{instance="lvs1", service=""}': "0x400"}, "59m", False),
    ("LvsTableHeld", {'lvs_healthd_hold_start_timestamp_seconds{instance="lvs1", service=""}': "0x400"}, "61m", True),
    # With a long configured resync, old readings are normal.
    (
        "LvsTableNotReadBack",
        {READ: "0x20", INTERVAL: "600x20"},
        "5m",
        False,
    ),
    (
        "LvsTableNotReadBack",
        {READ: "0x20", INTERVAL: "10x20"},
        "5m",
        True,
    ),
    # In shadow mode the table may differ from the wanted one, for the daemon writes nothing.
    (
        "LvsTableOutOfSync",
        {
            IN_SYNC: "0x40",
            'lvs_healthd_mode{instance="lvs1", mode="enforce"}': "0x40",
            'lvs_healthd_mode{instance="lvs1", mode="shadow"}': "1x40",
        },
        "8m",
        False,
    ),
    (
        "LvsTableOutOfSync",
        {IN_SYNC: "0x40", 'lvs_healthd_mode{instance="lvs1", mode="enforce"}': "1x40"},
        "8m",
        True,
    ),
    ("LvsVerdictsStale", {STALE: "0x40"}, "8m", False),
    ("LvsVerdictsStale", {STALE: "0x4 3x40"}, "3m", True),
    ("LvsServersDamped", {DAMPED: "0x4 1x16 0x20"}, "4m", False),
    ("LvsServersDamped", {DAMPED: "0x4 1x40"}, "8m", True),
    ("LvsHookFails", {HOOK_FAILED: "0x40"}, "8m", False),
    ("LvsHookFails", {HOOK_FAILED: "0x8 1x40"}, "8m", True),
    ("LvsHookFails", {HOOK_SENT: "0+1x40"}, "8m", False),
    # A standby director does not page for what only clients would miss, and warns that a takeover would fail.
    *(
        (alert, {**series, ACTIVE: "0x40", SUSPENDED: "0x40"}, "4m", fires)
        for alert, series, fires in (
            ("LvsServiceInFallback", {FALLBACK: "0x3 1x40"}, False),
            ("LvsServiceBelowMinUp", {f"lvs_healthd_service_below_min_up{SERVICE}": "0x3 1x40"}, False),
            ("LvsServiceFailsOpen", {f"lvs_healthd_service_fails_open{SERVICE}": "0x3 1x40"}, False),
            ("LvsStandbyCannotServe", {FALLBACK: "0x3 1x40"}, True),
            ("LvsStandbyCannotServe", {f"lvs_healthd_service_fails_open{SERVICE}": "0x3 1x40"}, True),
            ("LvsStandbyCannotServe", {FALLBACK: "0x40"}, False),
            ("LvsRealServerDown", {f"lvs_healthd_real_server_up{SERVER}": "1x3 0x40"}, True),
            ("LvsBrake", {BRAKE: "_x3 1700000000x40", IN_SYNC: "1x40"}, False),
            ("LvsBrake", {BRAKE: "_x3 1700000000x40", IN_SYNC: "1x40", IN_SYNC.replace("web", "dns"): "1x40"}, True),
        )
    ),
    ("LvsServiceInFallback", {FALLBACK: "0x3 1x40", ACTIVE: "1x40"}, "4m", True),
    ("LvsStandbyCannotServe", {FALLBACK: "0x3 1x40", ACTIVE: "1x40"}, "4m", False),
    # What is known of a service that is not probed is old.
    *(
        (alert, {**series, ACTIVE: "0x40", SUSPENDED: "1x40"}, "8m", False)
        for alert, series in (
            ("LvsStandbyCannotServe", {FALLBACK: "1x40"}),
            ("LvsRealServerDown", {f"lvs_healthd_real_server_up{SERVER}": "0x40"}),
            ("LvsFallbackDown", {f"lvs_healthd_fallback_up{SERVER}": "0x40"}),
        )
    ),
    ("LvsNobodyActive", {ACTIVE: "1x3 0x40", OTHER: "0x4 1x40"}, "4m", False),
    ("LvsNobodyActive", {ACTIVE: "1x3 0x40", OTHER: "0x40"}, "4m", True),
    ("LvsTwoActive", {ACTIVE: "1x3 0x40", OTHER: "0x4 1x40"}, "4m", False),
    ("LvsTwoActive", {ACTIVE: "1x40", OTHER: "0x4 1x40"}, "4m", True),
    ("LvsTrackFault", {'lvs_healthd_track_value{instance="lvs1"}': "0x3 1x20"}, "3m", True),
    ("LvsTrackFault", {'lvs_healthd_track_value{instance="lvs1"}': "0x3 1x2 0x20"}, "3m", False),
    ("LvsTrackFileError", {'lvs_healthd_track_error{instance="lvs1"}': "0x3 1x20"}, "3m", True),
    ("LvsPairError", {'lvs_healthd_pair_error{instance="lvs1"}': "0x3 1x20"}, "3m", True),
]


@pytest.mark.parametrize(("alert", "series", "at", "fires"), CASES)
def test_alerts_fire_when_they_should_and_not_otherwise(
    alert: str, series: dict[str, str], at: str, fires: bool, tmp_path: Path
) -> None:
    assert firing(series, alert, at=at, folder=tmp_path) == fires
