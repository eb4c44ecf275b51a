"""Reads and edits the IPVS table of a namespace with ipvsadm, which is independent of the daemon's own code."""

from dataclasses import dataclass

from lab.netns import Namespace


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
