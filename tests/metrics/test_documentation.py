"""docs/metrics.md and the alert rules match the code: they name every metric, type, label and bucket, and no other."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.metrics.exposed import Described, everything, in_code

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")
ALERTS = DOCS / "prometheus-alerts.yml"


def in_page() -> dict[str, Described]:
    rows = re.findall(r"^\| `(\w+)` \| (gauge|counter|histogram) \| ([\w, ]*)\| \S.*\|$", PAGE, re.MULTILINE)
    assert len({name for name, *_ in rows}) == len(rows)
    return {
        name: Described(kind=kind, labels=frozenset(filter(None, labels.strip().split(", "))))
        for name, kind, labels in rows
    }


def test_page_and_code_agree_on_names_types_and_labels() -> None:
    assert in_page() == in_code()


def test_page_gives_the_buckets_in_use() -> None:
    buckets: dict[str, set[float]] = {}
    for family in text_string_to_metric_families(everything().decode()):
        bounds = {float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels}
        if bounds:
            buckets[family.name] = bounds - {float("inf")}
    rows = re.findall(r"^\| `(\w+)` \| ([\d., ]+) \| \S.*\|$", PAGE, re.MULTILINE)
    assert {name: set(map(float, bounds.split(","))) for name, bounds in rows} == buckets


TEXTS = [*sorted(DOCS.rglob("*.md")), ALERTS]
NAMING = [path for path in TEXTS if re.search(r"\blvs_healthd_\w", path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", NAMING, ids=lambda path: path.name)
def test_metrics_that_are_named_exist(path: Path) -> None:
    used = set(re.findall(r"\blvs_healthd_\w+", path.read_text(encoding="utf-8")))
    series = set(in_code())
    series |= {
        name + suffix for name, metric in in_code().items() if metric.kind == "histogram" for suffix in ("_bucket",)
    }
    assert used <= series


def test_promtool_accepts_the_queries(tmp_path: Path) -> None:
    blocks = re.findall(r"```promql\n(.*?)```", "".join(path.read_text("utf-8") for path in TEXTS), re.DOTALL)
    queries = [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    rules = [{"record": f"documented:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "documented", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(queries)} rules found" in checked.stdout
    assert len(queries) > 4


def test_promtool_finds_nothing_to_say_about_the_metrics() -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=everything(), capture_output=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_promtool_accepts_the_alert_rules() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "43 rules found" in checked.stdout
