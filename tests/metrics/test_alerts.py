"""The alert rules, tested with Prometheus's own promtool. Each case is a director's metrics over some minutes or days.

Each alert has a case in which it fires, one in which it does not, and a section in docs/alerts.md.
"""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lvs_healthd.cli import VERBS
from lvs_healthd.events import kinds

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = DOCS / "prometheus-alerts.yml"

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
HEARD = 'lvs_healthd_directors_heard{instance="lvs1"}'
NEEDED = 'lvs_healthd_directors_needed{instance="lvs1"}'
BRAKE = 'lvs_healthd_brake_start_timestamp_seconds{instance="lvs1", way="eth1"}'
IN_SYNC = f"lvs_healthd_service_in_sync{SERVICE}"


Case = tuple[str, dict[str, str], str, bool]
"""The alert, the series in promtool's notation, a time, and whether the alert fires then."""


def fired(cases: list[Case], folder: Path, step: str) -> str:
    """Return what promtool says of the alerts that fire in these cases; "" if none does.

    step: the time between two values of a series.
    """
    tests: list[dict[str, Any]] = [
        {
            "interval": step,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}],
        }
        for alert, series, at, _ in cases
    ]
    file = folder / "case.yml"
    # promtool reads YAML, and JSON is valid YAML.
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": step, "tests": tests}))
    ran = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr if ran.returncode else ""


ACTIVE, SUSPENDED = f"lvs_healthd_service_active{SERVICE}", f"lvs_healthd_service_suspended{SERVICE}"
FALLBACK = f"lvs_healthd_service_in_fallback{SERVICE}"
OTHER = 'lvs_healthd_service_active{instance="lvs2", service="web"}'
ANNOUNCED, ANNOUNCED_TOO = (
    f'lvs_healthd_announced{{instance="lvs{number}", interface="lvs0", job="lvs", vip="192.0.2.100"}}'
    for number in (1, 2)
)
HAS, HAS_TOO = (each.replace("announced{", "announced_present{") for each in (ANNOUNCED, ANNOUNCED_TOO))
STALE = 'lvs_healthd_service_checks_stale{instance="lvs1", service="web"}'
DAMPED = 'lvs_healthd_service_real_servers_damped{instance="lvs1", service="web"}'
HOOK_FAILED = 'lvs_healthd_hook_messages_total{instance="lvs1", hook="mail", result="failed"}'
HOOK_SENT = HOOK_FAILED.replace("failed", "sent")
CASES: list[Case] = [
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
    *(
        ("LvsAnnouncedNowhere", {ANNOUNCED: "1x3 0x40", HAS: "1x3 0x40", **other}, "4m", fires)
        for other, fires in (
            ({}, True),
            ({ANNOUNCED_TOO: "0x4 1x40", HAS_TOO: "0x4 1x40"}, False),
            ({ANNOUNCED_TOO: "0x40", HAS_TOO: "0x40"}, True),
            # It wants the address, and its interface is missing; or it cannot take it off, and its servers are dead.
            ({ANNOUNCED_TOO: "1x40", HAS_TOO: "0x40"}, True),
            ({ANNOUNCED_TOO: "0x40", HAS_TOO: "1x40"}, True),
            # It has started, and does not know yet whether it may.
            ({HAS_TOO: "1x40"}, False),
            ({HAS_TOO: "0x40"}, True),
            # Its daemon is gone.
            ({ANNOUNCED_TOO: "1x3 stale", HAS_TOO: "1x3 stale"}, True),
        )
    ),
    ("LvsAnnouncedNowhere", {ANNOUNCED: "1x3 stale", HAS: "1x3 stale"}, "4m", False),
    ("LvsWithdrawn", {ANNOUNCED: "1x3 0x40", ANNOUNCED_TOO: "1x40"}, "4m", True),
    ("LvsWithdrawn", {ANNOUNCED: "1x3 0x2 1x40"}, "4m", False),
    ("LvsTrackFault", {'lvs_healthd_track_value{instance="lvs1"}': "0x3 1x20"}, "3m", True),
    ("LvsTrackFault", {'lvs_healthd_track_value{instance="lvs1"}': "0x3 1x2 0x20"}, "3m", False),
    *(
        (alert, {f'{metric}{{instance="lvs1"}}': "0x3 1x40"}, at, fires)
        for alert, metric, late in (
            ("LvsPairError", "lvs_healthd_pair_error", "3m"),
            ("LvsTrackFileError", "lvs_healthd_track_error", "2m"),
            ("LvsAnnounceError", "lvs_healthd_announce_error", "2m"),
            ("LvsTableError", "lvs_healthd_table_error", "2m"),
            ("LvsSettingError", "lvs_healthd_setting_error", "2m"),
            ("LvsStateNotSaved", "lvs_healthd_state_error", "7m"),
            ("LvsSourceError", "lvs_healthd_source_error", "7m"),
            ("LvsSourceHeld", "lvs_healthd_source_held", "7m"),
            ("LvsStoreError", "lvs_healthd_store_error", "7m"),
            ("LvsStoreHeld", "lvs_healthd_store_held", "7m"),
            ("LvsVetoed", "lvs_healthd_vetoed_servers", "3m"),
            ("LvsMaintenanceFolderUnread", "lvs_healthd_maintenance_error", "7m"),
            ("LvsMaintenanceFileUnused", "lvs_healthd_maintenance_files_unused", "7m"),
        )
        # After 15 seconds it may still end by itself.
        for at, fires in (("75s", False), (late, True))
    ),
    ("LvsVetoed", {'lvs_healthd_vetoed_servers{instance="lvs1"}': "0x3 2x3 0x20"}, "2m", False),
    ("LvsDecidesAlone", {HEARD: "1x3 0x40", NEEDED: "1x43"}, "7m", True),
    ("LvsDecidesAlone", {HEARD: "1x3 0x40", NEEDED: "1x43"}, "75s", False),
    ("LvsDecidesAlone", {HEARD: "0x43", NEEDED: "0x43"}, "7m", False),
    ("LvsTableFought", {'lvs_healthd_table_fights{instance="lvs1"}': "0x3 2x20"}, "2m", True),
    ("LvsTableFought", {'lvs_healthd_table_fights{instance="lvs1"}': "0x3 2x3 0x20"}, "4m", False),
    ("LvsConfigRejected", {'lvs_healthd_config_last_reload_successful{instance="lvs1"}': "1x3 0x20"}, "2m", True),
    ("LvsConfigRejected", {'lvs_healthd_config_last_reload_successful{instance="lvs1"}': "1x3 0x3 1x20"}, "4m", False),
    # 10 probes a second; all of them, or all but a few, start within 0.25 s.
    *(
        (
            "LvsProbesLate",
            {
                'lvs_healthd_schedule_lag_seconds_bucket{instance="lvs1", le="0.25"}': f"0+{in_time}x80",
                'lvs_healthd_schedule_lag_seconds_bucket{instance="lvs1", le="1"}': "0+150x80",
                'lvs_healthd_schedule_lag_seconds_bucket{instance="lvs1", le="+Inf"}': "0+150x80",
            },
            "15m",
            fires,
        )
        for in_time, fires in ((150, False), (100, True))
    ),
]

OVERRIDE = f"lvs_healthd_real_server_override_timestamp_seconds{DRAINED}"
SHADOW = 'lvs_healthd_mode{instance="lvs1", mode="shadow"}'
DAY_CASES: list[Case] = [
    ("LvsOverrideForgotten", {OVERRIDE: "0x200"}, "23h", False),
    ("LvsOverrideForgotten", {OVERRIDE: "0x200"}, "25h", True),
    ("LvsShadow", {SHADOW: "0x6 1x200"}, "24h", False),
    ("LvsShadow", {SHADOW: "0x6 1x200"}, "26h", True),
]


STEPS = [(CASES, "15s"), (DAY_CASES, "10m")]
"""The cases, with the time between two values."""


@pytest.mark.parametrize(("case", "step"), [(case, step) for cases, step in STEPS for case in cases if case[3]])
def test_alert_fires_when_it_should(case: Case, step: str, tmp_path: Path) -> None:
    said = fired([case], tmp_path, step)
    assert f"alertname:{case[0]}" in said.replace(" ", ""), said
    assert "got:[" in said, said


@pytest.mark.parametrize(("cases", "step"), STEPS, ids=[step for _, step in STEPS])
def test_no_alert_fires_when_it_should_not(cases: list[Case], step: str, tmp_path: Path) -> None:
    assert fired([case for case in cases if not case[3]], tmp_path, step) == ""


RULES = dict(
    re.findall(r"(?ms)^      - alert: (\w+)\n(.*?)(?=^      - alert: |\Z)", ALERTS.read_text(encoding="utf-8"))
)
RUNBOOK = dict(re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", (DOCS / "alerts.md").read_text(encoding="utf-8")))


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tested = {(alert, fires) for alert, _, _, fires in CASES + DAY_CASES}
    assert tested == {(alert, fires) for alert in RULES for fires in (True, False)}


def test_each_alert_has_its_section_and_no_other_has_one() -> None:
    assert list(RUNBOOK) == list(RULES)


@pytest.mark.parametrize("alert", RULES)
def test_alert_names_its_section_which_says_what_to_type(alert: str) -> None:
    [address] = re.findall(r"^          runbook_url: (\S+)$", RULES[alert], re.MULTILINE)
    assert address == f"docs/alerts.md#{alert.lower()}"  # what forges make of the heading
    [severity] = re.findall(r"severity: (\w+)", RULES[alert])
    assert RUNBOOK[alert].startswith(f"\nSeverity `{severity}`. ")
    [commands] = re.findall(r"(?s)```sh\n(.*?)```", RUNBOOK[alert])
    for command in commands.splitlines():
        words = shlex.split(command)
        if words[0] == "lvs-healthd":
            assert words[1] in VERBS, command
        events = {word.removeprefix("LVS_EVENT=") for word in words if word.startswith("LVS_EVENT=")}
        assert events <= {event.name for event in kinds.EVENTS}, command
        if words[0] == "journalctl":
            assert shutil.which("journalctl") is None or _understands(command), command


def _understands(command: str) -> bool:
    """Return whether journalctl knows the options of a command."""
    ran = subprocess.run([*shlex.split(command), "--no-pager"], capture_output=True, text=True, check=False, timeout=30)
    return "option" not in ran.stderr and "Failed to parse" not in ran.stderr
