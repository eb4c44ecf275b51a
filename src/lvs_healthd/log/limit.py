"""Keeps a mass failure from flooding the log: a limit per event name, and a summary of the lines held back."""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LINES_PER_SECOND = 20
"""The maximum number of lines per second with the same event name: enough to see what is going on, and few enough to
read. The metrics count every event."""

_WINDOW_S = 1.0

REPEAT_S = 60.0
"""The minimum time between two log lines with the same message from a library, seconds."""

TOLD = 20
"""How many different held-back lines (event name and what the line is about) the summary names, the most frequent
first. Lines passed with `in_full` are named in addition."""

_LARGEST_SUMMARY = 32 * 1024
"""The maximum size of the texts in one summary, bytes. journald splits lines longer than 48 KiB."""


class Summary(NamedTuple):
    """What was held back."""

    counts: dict[str, int]
    """How many lines, by event name."""
    most: dict[str, int]
    """How many lines, by event name and what they were about."""


class RateLimit:
    """Admits at most `LINES_PER_SECOND` lines with the same event name in any second.

    In the methods, `now` is monotonic time, seconds.
    """

    def __init__(self) -> None:
        self._admitted: dict[str, deque[float]] = {}
        self._repeated: dict[str, float] = {}
        self._suppressed: Counter[tuple[str, str]] = Counter()
        self._in_full: set[str] = set()
        """Event names of which the summary names every held-back line."""
        self._since = 0.0

    def admit(self, name: str, now: float, *, kind: str = "", about: str = "", in_full: bool = False) -> bool:
        """Whether a line of this name may be written now. If not, it is counted for the summary.

        name: the event name.
        kind: separates lines with the same name; each kind has a limit of its own.
        about: what the summary says about the line.
        in_full: whether the summary must name what every such line is about, and not only the most frequent.
        """
        if in_full:
            self._in_full.add(name)
        times = self._admitted.setdefault(name + kind, deque(maxlen=LINES_PER_SECOND))
        if len(times) == LINES_PER_SECOND and now - times[0] < _WINDOW_S:
            self._count(name, now, about)
            return False
        times.append(now)
        return True

    def admit_message(self, name: str, now: float, message: str) -> bool:
        """Return whether a library's message may be written now. If not, it is counted for the summary.

        The same message is admitted at most once in `REPEAT_S`.
        """
        if now - self._repeated.get(message, -REPEAT_S) < REPEAT_S:
            self._count(name, now, message)
            return False
        # Old messages are forgotten, because messages contain numbers and addresses, so there may be ever more of them.
        self._repeated = {each: at for each, at in self._repeated.items() if now - at < REPEAT_S}
        self._repeated[message] = now
        return self.admit(name, now, about=message)

    def _count(self, name: str, now: float, about: str) -> None:
        if not self._suppressed:
            self._since = now
        self._suppressed[name, about] += 1

    def due(self, now: float) -> bool:
        """Return whether the summary is due: a second has passed since the first line that was held back."""
        return bool(self._suppressed) and now - self._since >= _WINDOW_S

    def take(self) -> list[Summary]:
        """Return what was held back since the last call, the most frequent first. Empty if nothing was held back.

        If one summary would make too long a line, several are returned.
        """
        groups = self._suppressed.most_common()
        others = [key for key, _ in groups if key[0] not in self._in_full and key[1]][:TOLD]
        named = {key for key, _ in groups if key[0] in self._in_full and key[1]}.union(others)
        told = ((name, f"{name} {about}", count) for (name, about), count in groups if (name, about) in named)
        rest: Counter[str] = Counter()
        for (name, about), count in groups:
            if (name, about) not in named:
                rest[name] += count
        self._suppressed.clear()
        return list(_summaries(told, rest))


def _summaries(told: Iterable[tuple[str, str, int]], counts: Counter[str]) -> Iterator[Summary]:
    """Make summaries that are not too large.

    told: the lines that are named, each as (event name, text, how many such lines).
    counts: how many other lines there were, by event name. They go into the first summary.
    """
    most: dict[str, int] = {}
    size = 0
    for name, text, count in told:
        needs = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace")) + len(f":{count},")
        if size + needs > _LARGEST_SUMMARY and most:
            yield Summary(dict(counts.most_common()), most)
            counts, most, size = Counter(), {}, 0
        counts[name] += count
        most[text] = count
        size += needs
    if counts:
        yield Summary(dict(counts.most_common()), most)
