"""The Grafana dashboard asks for what the daemon exposes, and has the structure that Grafana loads.

test_prometheus.py runs its queries in a real Prometheus.
"""

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.metrics.dashboard import DASHBOARD, PANELS, VARIABLES, Query, filled, queries
from tests.metrics.exposed import everything, in_code

ADDED = {"instance", "job"}
"""The labels that Prometheus adds."""
STATUSES = {"up", "down", "unsure"}
EXPOSED = in_code()
VALUES = {
    value
    for family in text_string_to_metric_families(everything().decode())
    for sample in family.samples
    for value in sample.labels.values()
} | STATUSES


def metric_of(series: str) -> str:
    """Return the metric of a series: a histogram has several series."""
    return re.sub("_(bucket|sum|count)$", "", series)


def named(expression: str) -> list[tuple[str, str]]:
    """Return the series that a query names, each with its matchers."""
    return re.findall(r"\b((?:lvs_healthd|process)_\w+)(?:\{([^}]*)\})?", expression)


def labels_of(expression: str) -> set[str]:
    """Return the labels that the series of a query have."""
    labels = set(ADDED)
    for series, _ in named(expression):
        labels |= EXPOSED[metric_of(series)].labels | ({"le"} if series.endswith("_bucket") else set())
    return labels


def variables() -> list[Query]:
    """Return the queries of Grafana's variables."""
    chosen = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return [Query(f"${each['name']}", filled(each["query"]["query"]), "") for each in chosen]


@pytest.mark.parametrize("query", [*queries(), *variables()], ids=str)
def test_query_names_what_the_daemon_exposes(query: Query) -> None:
    assert named(query.expression)
    for series, matchers in named(query.expression):
        metric = EXPOSED[metric_of(series)]
        assert (metric.kind == "histogram") == series.endswith("_bucket"), series
        for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', matchers):
            assert label in metric.labels | ADDED, f"{series} has no label {label}"
            assert operator == "=~" or value in VALUES, f"{series} has no {label} {value}"
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", query.expression)
    asked = {label for labels in grouped for label in labels.split(", ")} | set(re.findall(r"{{(\w+)}}", query.legend))
    assert asked <= labels_of(query.expression)


@pytest.mark.parametrize("query", [*queries()], ids=str)
def test_legend_tells_only_labels_that_the_query_keeps(query: Query) -> None:
    kept = re.search(r"\b(?:sum|count|min|max) by \(([^)]*)\)", query.expression)
    if kept is not None:
        assert set(re.findall(r"{{(\w+)}}", query.legend)) <= set(kept[1].split(", "))


def test_promtool_understands_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query.expression} for number, query in enumerate(queries())]
    file = tmp_path / "rules.yml"
    # promtool reads YAML, and JSON is valid YAML.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_every_variable_is_declared() -> None:
    declared = {f"${each['name']}" for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\w+", json.dumps([panel.get("targets", panel["title"]) for panel in PANELS])))
    assert used - {"$__rate_interval"} <= declared
    assert declared - {"$datasource"} == set(VARIABLES) - {"$__rate_interval"}


def test_rows_are_there_and_the_worst_services_come_first() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["Overview: bad services first", "Service $service", "Director", "Probes"]
    [worst] = [panel for panel in PANELS if panel["title"] == "Services, the worst first"]
    assert worst["options"]["sortBy"] == [{"displayName": "badness", "desc": True}]
    assert "badness" in worst["transformations"][1]["options"]["renameByName"].values()


def test_panels_have_ids_of_their_own_and_do_not_lie_on_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not any(_overlap(one, other) for one, other in combinations(places, 2))


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one[p] < other[p] + other[s] and other[p] < one[p] + one[s] for p, s in (("x", "w"), ("y", "h")))


@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel["type"] != "row"], ids=lambda each: each["title"])
def test_panel_has_what_grafana_needs(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"stat", "table", "timeseries", "heatmap"}  # all are built in
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
    for source in (panel, *panel["targets"]):
        assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for override in panel["fieldConfig"]["overrides"]:
        shown = panel["transformations"][1]["options"]["renameByName"].values()
        assert override["matcher"]["options"] in shown
