"""Writes the results as Markdown, without dates and names. Of the machine it shows only what explains the figures."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.outcome import Claim, Outcome, Table

_VERDICTS = {True: "met", False: "**missed**", None: ""}

_HEAD = """# Benchmark results

Written by `make bench{quick}`; what each row means and how it is measured is in
[docs/performance.md](../docs/performance.md). Medians, with the smallest and largest of the runs in brackets; a
ratio is the median of the ratios of paired runs.

Machine: {machine}.
"""


def machine() -> str:
    """Describe the machine as far as it explains the figures."""
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def markdown(
    outcomes: Mapping[str, Outcome], failures: Mapping[str, str], pictures: Sequence[Path], *, is_quick: bool
) -> str:
    """Write the whole report.

    outcomes, failures: what each scenario found, or why it failed, by its title.
    pictures: files beside the report.
    """
    parts = [_HEAD.format(quick=" QUICK=1" if is_quick else "", machine=machine())]
    parts.append(markdown_table(summary([claim for outcome in outcomes.values() for claim in outcome.claims])))
    if failures:
        parts.append("## Not measured\n")
        parts.append("".join(f"- {name}: {_first_line(text)}\n" for name, text in failures.items()))
    for name, outcome in outcomes.items():
        details = [markdown_table(table) for table in outcome.tables] + [f"{note}\n" for note in outcome.notes]
        if details:
            parts += [f"## {name}\n", *details]
    if pictures:
        parts.append("## Plots\n")
        parts.append("\n".join(f"![{picture.stem}]({picture.name})\n" for picture in pictures))
    return "\n".join(parts)


def summary(claims: Sequence[Claim]) -> Table:
    """Make one table of all claims."""
    return Table(
        "Summary",
        ("what", "measured", "beside it", "target", ""),
        [(claim.what, claim.measured, claim.beside, claim.target, _VERDICTS[claim.holds]) for claim in claims],
    )


def markdown_table(table: Table) -> str:
    """Write a table with its title."""
    lines = [table.head, tuple("---" for _ in table.head), *table.rows]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"**{table.title}**\n\n{body}\n"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
