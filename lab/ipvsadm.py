"""Reads and edits the IPVS table of a namespace with ipvsadm, which is independent of the daemon's own code."""

from dataclasses import dataclass

from lab.netns import Namespace

Numbers = dict[tuple[str, str], tuple[str, ...]]
"""Service and server, "-" for the service itself, to the five columns of a view."""


@dataclass(frozen=True, slots=True)
class Ipvsadm:
    """ipvsadm inside one namespace."""

    director: Namespace

    def __call__(self, *arguments: str) -> str:
        """Run ipvsadm with `arguments`, and return what it printed. Raises `CommandError` when it fails."""
        return self.director.run(["ipvsadm", *arguments]).stdout

    def listing(self) -> str:
        """Return the table for people: `ipvsadm -Ln`."""
        return self("-Ln")

    def saved(self) -> str:
        """Return the table as commands that would rebuild it: `ipvsadm -Sn`."""
        return self("-Sn")

    def restore(self, rules: str, *, check: bool = True) -> None:
        """Carry out `rules`, which are lines as `saved` returns them, in one process.

        A line that fails does not stop the later ones. With `check`, raises `CommandError` when the last line fails.
        ipvsadm's exit status does not tell about the other lines.
        """
        self.director.run(["ipvsadm", "-R"], stdin=rules, check=check)

    def clear(self) -> None:
        """Empty the whole table: `ipvsadm -C`."""
        self("-C")


def numbers(listing: str) -> Numbers:
    """Read what `ipvsadm -Ln --stats` or `--rate` has printed. Services are as `lvs-healthd table` names them."""
    found: Numbers = {}
    service = ""
    for line in listing.splitlines():
        first, *rest = line.split()
        if first in ("TCP", "FWM"):
            service = f"{rest[0]}/tcp" if first == "TCP" else f"fwmark {rest[0]}"
            found[service, "-"] = tuple(rest[1:])
        elif first == "->" and rest[0] != "RemoteAddress:Port":
            found[service, rest[0]] = tuple(rest[1:])
    return found
