"""Which guest runs which test: each takes its next one, by a claim in a folder that all of them share.

A file stays with one guest while there are files that nobody has begun, because its tests share a network. After that,
guests help each other out. So nothing has to know how long a test takes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path


class Queue:
    """Tests that several guests share out among themselves.

    `folder` is where claims are made: a folder named by the test's place in `nodeids`, which is the same for all
    guests. Whoever makes it has the test.
    """

    def __init__(self, folder: Path, nodeids: Sequence[str]) -> None:
        self._folder = folder
        self._places = {nodeid: str(place) for place, nodeid in enumerate(nodeids)}
        self._file = ""

    def take(self, known: Iterable[str]) -> str | None:
        """Claim one of the tests in `known`, and return it; None when all are claimed."""
        wanted = [nodeid for nodeid in known if nodeid in self._places]
        while True:
            claimed = {claim.name for claim in self._folder.iterdir()}
            left: dict[str, list[str]] = {}
            begun = set()
            for nodeid in wanted:
                if self._places[nodeid] in claimed:
                    begun.add(_file(nodeid))
                else:
                    left.setdefault(_file(nodeid), []).append(nodeid)
            if not left:
                return None
            if self._file not in left:
                fresh = [file for file in left if file not in begun]
                self._file = fresh[0] if fresh else max(left, key=lambda file: len(left[file]))
            nodeid = left[self._file][0]
            if self._claim(nodeid):
                return nodeid

    def _claim(self, nodeid: str) -> bool:
        try:
            (self._folder / self._places[nodeid]).mkdir()
        except FileExistsError:
            return False  # another guest was faster
        return True


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
