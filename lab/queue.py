"""Decides which guest runs which test. Each guest claims its next test in a folder that all of them share.

The tests of one file use the same network. So one guest runs the whole of a file, as long as there are files that no
guest has begun. After that, guests take tests from each other's files. Nobody has to know how long a test takes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path


class Queue:
    """The tests that several guests divide among themselves.

    folder: the folder for the claims. A claim is a folder in it, with the test's index in `nodeids` as its name. The
        guest that makes the folder runs the test.
    nodeids: all tests, in an order that is the same for all guests.
    """

    def __init__(self, folder: Path, nodeids: Sequence[str]) -> None:
        self._folder = folder
        self._places = {nodeid: str(place) for place, nodeid in enumerate(nodeids)}
        self._file = ""

    def take(self, known: Iterable[str]) -> str | None:
        """Claim one of the tests in `known`, and return its nodeid; None when all of them are claimed."""
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
