"""Measures the status page: when a browser shows something, how long updates are, and how long the loop stalls."""

import asyncio
import json
import time
from pathlib import Path

from bench.context import Context, Scenario
from bench.figures import figure, number
from bench.healthd import LISTEN, Healthd, folder
from bench.outcome import Claim, MeasurementError, Outcome
from bench.processes import PEER_CPU, PYTHON, running
from bench.steady import steady_daemon
from lab.browser import browsing

SERVERS = 10_000
INTERVAL_S = 5.0
PAGES = 8
"""How many pages are open: as many as the daemon keeps true."""

PAINT_LIMIT_S = 1.0
MESSAGE_LIMIT_BYTES = 50_000
STALL_LIMIT_S = 0.02
"""How much longer a turn of the event loop may take while pages are open, seconds."""

_CALM_S = 15.0
_OPENING_S = 10.0
"""How long the pages are open before a browser comes, and after it has left, seconds."""
_PATH = "/page/"


def run(context: Context) -> Outcome:
    """Watch the daemon without pages, then with all of them while a browser comes a few times."""
    load = context.load("http", SERVERS, INTERVAL_S)
    with folder() as place:
        turns_file = place / "turns"
        with steady_daemon(load, command=[PYTHON, "-m", "bench.daemon_with_turns", turns_file]) as healthd:
            calm = (time.monotonic(), time.monotonic() + context.pick(2 * _CALM_S, _CALM_S))
            time.sleep(calm[1] - calm[0])
            began, ended, lengths, paints = _busy(healthd, context.pick(9, 3))
            healthd.check_quiet()
        try:
            turns: list[list[float]] = json.loads(turns_file.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise MeasurementError(f"no turns of the event loop: {error}") from error
    painted = figure(*paints).scaled(1000)
    longest = max(max(each, default=0) for each in lengths)
    without, with_pages = (_longest(turns, *span) for span in (calm, (began, ended)))
    counts = sorted(len(each) for each in lengths)
    claims = [
        Claim(
            what=f"status page, {SERVERS} servers, {PAGES} pages open: first paint",
            measured=painted.text("ms"),
            beside=f"best of {len(paints)}: {number(painted.low)} ms",
            target=f"<= {PAINT_LIMIT_S * 1000:g} ms",
            holds=painted.median <= PAINT_LIMIT_S * 1000,
        ),
        Claim(
            what="longest message to an open page",
            measured=f"{number(longest / 1000)} kB",
            beside=f"{counts[0]} to {counts[-1]} messages for each page in {number(ended - began)} s",
            target=f"<= {MESSAGE_LIMIT_BYTES / 1000:g} kB",
            holds=longest <= MESSAGE_LIMIT_BYTES,
        ),
        Claim(
            what="longest turn of the loop while pages are open",
            measured=f"{with_pages[0] * 1000:.1f} ms, {with_pages[1] * 1000:.1f} ms of them its own processor time",
            beside=f"without pages {without[0] * 1000:.1f} ms, {without[1] * 1000:.1f} ms of them its own",
            target=f"no stall > {STALL_LIMIT_S * 1000:g} ms by pages",
            holds=with_pages[0] - without[0] <= STALL_LIMIT_S,
        ),
    ]
    return Outcome(claims)


def _longest(turns: list[list[float]], began: float, ended: float) -> tuple[float, float]:
    """Return the longest turn between two moments, and the most processor time that one took, seconds."""
    within = [turn for turn in turns if began <= turn[0] <= ended]
    return max((turn[1] for turn in within), default=0.0), max((turn[2] for turn in within), default=0.0)


def _busy(healthd: Healthd, times: int) -> tuple[float, float, list[list[int]], list[float]]:
    """Open all pages, and let a browser come so many times.

    Return when that began and ended (CLOCK_MONOTONIC), the lengths of all messages, and the times to the first paint.
    """
    # The browser is one of the pages: it takes the place that is left.
    seconds = 2 * _OPENING_S + times * 4.0
    readers = Path(__file__).parent.parent / "page_readers.py"
    command = [PYTHON, "-I", "-S", readers, *LISTEN, PAGES - 1, seconds]
    with running(command, cpu=PEER_CPU) as program:
        time.sleep(_OPENING_S)
        paints = asyncio.run(_paints(times))
        healthd.wait_while_alive(lambda: not program.alive(), timeout_s=3 * seconds, what="the end of the pages")
        try:
            began, ended, lengths = json.loads(program.output())
        except ValueError as error:
            raise MeasurementError(f"the pages failed:\n{program.last_words()}") from error
    return began, ended, lengths, paints


async def _paints(times: int) -> list[float]:
    """Let a browser open the page so many times. Return when it first showed something, seconds from the request."""
    found = []
    async with browsing() as browser:
        await browser.window(1200, 700)
        for _ in range(times):
            await browser.visit(f"http://{LISTEN[0]}:{LISTEN[1]}{_PATH}")
            await browser.until("performance.getEntriesByName('first-contentful-paint').length === 1")
            found.append(await browser.value("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            await browser.visit("about:blank#left")
    return [each / 1000 for each in found]


SCENARIOS = (Scenario("page", "the status page", run),)
