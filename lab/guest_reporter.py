"""pytest plugin for the guest: runs the tests that the host asks for, and writes every report to a file at once.

The file is reports.jsonl in the folder shared with the host, where `lab.remote` reads it. Each line is one of these
JSON records:

    {"kind": "claim", "nodeid": …}                       the guest has taken a test; no other guest will run it
    {"kind": "start", "nodeid": …}                       a test begins
    {"kind": "report", "nodeid": …, "report": {…}}       pytest's own serialised report
    {"kind": "finish", "nodeid": …}                      all of its reports have been written
    {"kind": "collect_error", "text": …}                 a file could not be imported
    {"kind": "finished"}                                 pytest has ended in good order
    {"kind": "exited", "status": …}                      the interpreter has ended (written by guest-pytest)
"""

import faulthandler
import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from lab.queue import Queue


def pytest_configure(config: pytest.Config) -> None:
    """Start reporting."""
    folder, queue = (Path(os.environ[f"LVS_HEALTHD_LAB_{name}"]) for name in ("FOLDER", "QUEUE"))
    config.pluginmanager.register(GuestReporter(config, folder, queue))


class GuestReporter:
    """Runs the tests that the host asked for and no other guest has taken, and reports on them."""

    def __init__(self, config: pytest.Config, folder: Path, queue: Path) -> None:
        self._config = config
        request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
        self._timeout_s: float = request["timeout_s"]
        reports = folder / "reports.jsonl"
        self._wanted: list[str] = request["nodeids"]
        self._queue = Queue(queue, self._wanted)
        records = read_records(reports.read_bytes())
        begun = {record["nodeid"] for record in records if record["kind"] == "start"}
        # Tests that an earlier interpreter had taken and not begun when it died.
        self._taken = [
            str(record["nodeid"]) for record in records if record["kind"] == "claim" and record["nodeid"] not in begun
        ]
        self._stream = reports.open("a", encoding="ascii", buffering=1)
        # A copy of standard error, because pytest captures file descriptor 2 while a test runs.
        self._stderr = os.dup(2)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep only the tests that the host asked for, in the host's order."""
        place = {nodeid: index for index, nodeid in enumerate(self._wanted)}
        items[:] = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run one test after the other, until none is left.

        The next test is taken before the current one runs, so that pytest knows which fixtures both use.
        """
        items = {item.nodeid: item for item in session.items}
        item = self._next(items)
        while item is not None:
            following = self._next(items)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            item = following
        return True

    def _next(self, items: Mapping[str, pytest.Item]) -> pytest.Item | None:
        while self._taken:
            if (nodeid := self._taken.pop(0)) in items:
                return items[nodeid]
        taken = self._queue.take(items)
        if taken is None:
            return None
        self._write("claim", nodeid=taken)
        return items[taken]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Write a record before and after a test. If it takes too long, print all stacks and end the interpreter."""
        self._write("start", nodeid=item.nodeid)
        faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=self._stderr)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._write("finish", nodeid=item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a test's report."""
        serialised = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._write("report", nodeid=report.nodeid, report=serialised)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write why a file could not be collected."""
        if report.failed:
            self._write("collect_error", text=f"{report.nodeid}\n{report.longreprtext}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write that pytest has ended in good order."""
        self._write("finished")

    def pytest_unconfigure(self) -> None:
        """Close the file and the copy of standard error."""
        self._stream.close()
        os.close(self._stderr)

    def _write(self, kind: str, **fields: object) -> None:
        self._stream.write(json.dumps({"kind": kind, **fields}, default=str) + "\n")


def read_records(text: bytes) -> list[dict[str, object]]:
    """Return the records in `text`, which consists of whole lines.

    A record that an interpreter left unfinished when it died is skipped.
    """
    records = []
    for line in text.splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
