"""The Grafana dashboard, as its tests read it: panels, and queries with a value for each of Grafana's variables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]

VARIABLES = {"$__rate_interval": "1m", "$instance": ".+", "$service": ".+", "$job": ".+"}
"""What Grafana puts in place of its variables; for "All", a pattern with every value."""


class Query(NamedTuple):
    """One query of a panel."""

    title: str
    expression: str
    """In PromQL."""
    legend: str

    def __str__(self) -> str:
        return f"{self.title}: {self.expression}"


def queries() -> Iterator[Query]:
    """Yield each query of each panel."""
    for panel in PANELS:
        for target in panel.get("targets", []):
            yield Query(panel["title"], filled(target["expr"]), target["legendFormat"])


def filled(text: str) -> str:
    """Return a query with a value for each variable."""
    for variable, value in VARIABLES.items():
        text = text.replace(variable, value)
    return text
