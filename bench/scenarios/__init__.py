"""All scenarios, in the order of the report."""

from bench.context import Scenario
from bench.scenarios import (
    cpu,
    deciding,
    detection,
    growth,
    hostile,
    http2,
    lab,
    mass_failure,
    page,
    paths,
    programs,
    reload,
    schedule,
    scrape,
    start,
    storms,
    table,
    under_load,
)

SCENARIOS: tuple[Scenario, ...] = (
    *cpu.SCENARIOS,
    *http2.SCENARIOS,
    *schedule.SCENARIOS,
    *growth.SCENARIOS,
    *start.SCENARIOS,
    *reload.SCENARIOS,
    *scrape.SCENARIOS,
    *page.SCENARIOS,
    *mass_failure.SCENARIOS,
    *detection.SCENARIOS,
    *storms.SCENARIOS,
    *deciding.SCENARIOS,
    *under_load.SCENARIOS,
    *programs.SCENARIOS,
    *hostile.SCENARIOS,
    *lab.SCENARIOS,
    *table.SCENARIOS,
    *paths.SCENARIOS,
)
