"""The alert rules, judged by Prometheus' own promtool: each case is what a director's metrics say minute by minute."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ALERTS = Path(__file__).parents[2] / "docs" / "prometheus-alerts.yml"

SERVER = '{instance="lvs1", service="web", server="198.51.100.11:80"}'
SERVICE = '{instance="lvs1", service="web"}'
UNSURE = 'lvs_healthd_probes_unsure{instance="lvs1"}'
UNSURE_TOTAL = 'lvs_healthd_probes_total{instance="lvs1", service="web", status="unsure", reason="stalled"}'
AGE = 'lvs_healthd_resync_age_seconds{instance="lvs1"}'
INTERVAL = 'lvs_healthd_resync_interval_seconds{instance="lvs1"}'
IN_SYNC = f"lvs_healthd_service_in_sync{SERVICE}"


def firing(series: dict[str, str], alert: str, *, at: str, folder: Path) -> bool:
    """Whether `alert` fires at that moment; each series is in promtool's notation, a value each 15 seconds."""
    case: dict[str, Any] = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}],
    }
    file = folder / "case.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [case]}))
    ran = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    said = ran.stdout + ran.stderr
    if ran.returncode == 0:
        return False
    assert f"alertname:{alert}" in said.replace(" ", ""), said
    assert "got:[" in said, said
    return True


CASES = [
    ("LvsHealthdGone", {'up{job="lvs-healthd", instance="lvs1"}': "1x3 0x20"}, "5m", True),
    ("LvsHealthdGone", {'up{job="lvs-healthd", instance="lvs1"}': "1x3 0x1 1x20"}, "5m", False),
    # A director that starts proves its servers one after another: no outage, and nothing goes up and down.
    ("LvsServiceInFallback", {f"lvs_healthd_service_in_fallback{SERVICE}": "1x1 0x20"}, "1m", False),
    ("LvsServiceInFallback", {f"lvs_healthd_service_in_fallback{SERVICE}": "0x3 1x20"}, "3m", True),
    ("LvsRealServerFlaps", {f"lvs_healthd_real_server_up{SERVER}": "_ _ 0 1x60"}, "10m", False),
    ("LvsRealServerFlaps", {f"lvs_healthd_real_server_up{SERVER}": "1 1 0 0 1 1 0 0 1 1 0 0 1 1 0 0"}, "4m", True),
    ("LvsRealServerDown", {f"lvs_healthd_real_server_up{SERVER}": "1x3 0x20"}, "3m", True),
    # A probe worker that is gone counts no probes any more; those it had are blind all the same.
    (
        "LvsProbesUnsure",
        {
            UNSURE_TOTAL: "7x40",
            UNSURE: "0x3 500x40",
        },
        "8m",
        True,
    ),
    # One in many turns is unsure: the gauge is seldom caught at it, the counter grows.
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
    # With a long resync of their own, old readings are as they should be.
    (
        "LvsTableNotReadBack",
        {AGE: "0+15x20", INTERVAL: "600x20"},
        "5m",
        False,
    ),
    (
        "LvsTableNotReadBack",
        {AGE: "0+15x20", INTERVAL: "10x20"},
        "5m",
        True,
    ),
    # In shadow mode the table is not as wanted, and is not to be.
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
]


@pytest.mark.parametrize(("alert", "series", "at", "fires"), CASES)
def test_alerts_fire_when_they_should_and_not_otherwise(
    alert: str, series: dict[str, str], at: str, fires: bool, tmp_path: Path
) -> None:
    assert firing(series, alert, at=at, folder=tmp_path) == fires
