"""Writes Prometheus's text format (version 0.0.4) piece by piece, without prometheus_client.

That library takes 0.4 s for the gauges of 10 000 real servers, all in one go, and the checks stand still meanwhile.
Formatting strings takes 0.06 s and can be done in slices.
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

import functools
from collections.abc import Iterable, Iterator

PREFIX = "lvs_healthd_"


def family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    """Write one metric with its samples.

    name: the metric's name, without the common prefix.
    kind: "gauge", "counter" or "histogram".
    text: the help text, on one line.
    samples: the labels, including the braces, and the value of each sample.
    """
    full = PREFIX + name
    yield f"# HELP {full} {text}\n# TYPE {full} {kind}\n"
    for labels, value in samples:
        # repr keeps every digit of a Unix time, and writes nan and inf the way the format wants them.
        yield f"{full}{labels} {value!r}\n"


def labelled(**labels: str) -> str:
    """Write labels, including the braces."""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels.items()) + "}"


@functools.lru_cache(maxsize=1024)
def escape(value: str) -> str:
    """Escape a label's value so that nothing in it can end the quoted string."""
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return value
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return escaped.encode("utf-8", "replace").decode("utf-8")
