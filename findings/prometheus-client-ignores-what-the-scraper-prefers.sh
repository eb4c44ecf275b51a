#!/usr/bin/env bash
# prometheus_client answers in OpenMetrics even where the scraper prefers the text format, or rules OpenMetrics out.
#
# Expected: the Accept header decides by its q values (RFC 9110, 12.4.2 and 12.5.1): the highest wins, and q=0 means
# "not acceptable". Prometheus sends q values in the order of its `scrape_protocols`, so an operator who puts
# PrometheusText0.0.4 first gets the text format.
# What happens: choose_encoder, which the package's own servers and applications go through, does not look at q.
# Whoever names application/openmetrics-text anywhere in the header gets OpenMetrics. To change the format, the
# operator has to take OpenMetrics out of the list, not to move it down.
# Version: prometheus-client 0.26.0, Python 3.11.
# Seen on 2026-11-28: the lines under "recorded" below.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" -qq --disable-pip-version-check install prometheus-client==0.26.0

recorded='text/plain only: text/plain
OpenMetrics at q=0.5, text at q=0.9: application/openmetrics-text
OpenMetrics at q=0, text: application/openmetrics-text'

seen=$("$tmp/venv/bin/python" - <<'PYTHON'
from prometheus_client.exposition import choose_encoder

HEADERS = {
    "text/plain only": "text/plain;version=0.0.4",
    "OpenMetrics at q=0.5, text at q=0.9": "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.5",
    "OpenMetrics at q=0, text": "text/plain;version=0.0.4,application/openmetrics-text;q=0",
}
for title, accept in HEADERS.items():
    _, content_type = choose_encoder(accept)
    print(f"{title}: {content_type.split(';')[0]}")
PYTHON
)

if [ "$seen" != "$recorded" ]; then
    printf 'changed; recorded:\n%s\nseen now:\n%s\n' "$recorded" "$seen"
    exit 1
fi
echo 'as recorded: OpenMetrics at q=0.5 beats text at q=0.9, and q=0 does not rule it out'
