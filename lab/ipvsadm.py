"""The IPVS table of a namespace, as ipvsadm shows and edits it: the lab's independent witness."""

from dataclasses import dataclass

from lab.netns import Namespace


@dataclass(frozen=True, slots=True)
class Ipvsadm:
    """ipvsadm inside one namespace."""

    director: Namespace

    def __call__(self, *arguments: str) -> str:
        """Run ipvsadm with `arguments`; returns what it printed. Raises `CommandError` when it fails."""
        return self.director.run(["ipvsadm", *arguments]).stdout

    def listing(self) -> str:
        """Return the table for people: `ipvsadm -Ln`."""
        return self("-Ln")

    def saved(self) -> str:
        """Return the table as commands that would rebuild it: `ipvsadm -Sn`."""
        return self("-Sn")

    def restore(self, rules: str, *, check: bool = True) -> None:
        """Carry out `rules`, lines as `saved` writes them, in one process; what fails, fails alone.

        With `check` it raises `CommandError` when the last line failed, which is all that ipvsadm tells.
        """
        self.director.run(["ipvsadm", "-R"], stdin=rules, check=check)

    def clear(self) -> None:
        """Empty the whole table: `ipvsadm -C`."""
        self("-C")
