"""Writes the findings of `lvs-healthd doctor` as text."""

from collections.abc import Iterable, Iterator

from rich.text import Text

from lvs_healthd.doctor.finding import Finding, Note, Sureness
from lvs_healthd.runtime.printable import printable

_COLOURS = {Sureness.CERTAIN: "bold red", Sureness.LIKELY: "bold yellow", Sureness.POSSIBLE: "bold cyan"}


def lines(found: Iterable[Finding]) -> Iterator[Text]:
    """Yield each finding in three or four lines: what was seen, why it matters, and what to type."""
    for finding in found:
        who = " ".join(each for each in (finding.service, finding.server) if each)
        head = Text(f"{finding.sureness}: ", style=_COLOURS[finding.sureness])
        head.append(printable(f"{who}: {finding.seen}" if who else finding.seen), style="not bold default")
        yield head
        yield Text(printable(f"  why:  {finding.why}"))
        where = f" (on {finding.on})" if finding.on else ""
        yield Text(printable(f"  mend{where}: {finding.command}"))
        if finding.others:
            yield Text(f"  and {finding.others} more like this")


def remarks(notes: Iterable[Note]) -> Iterator[Text]:
    """Yield a line for each note."""
    for note in notes:
        yield Text(printable(f"note: {note.service}: {note.text}" if note.service else f"note: {note.text}"))
