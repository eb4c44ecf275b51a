"""The host's side of kernel tests in guests: asks for the tests, reads their reports, and notices lost tests."""

import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from lab.boot import LAB, Guest
from lab.guest_reporter import read_records

BOOT_DEADLINE_S = 600.0
"""How long a guest may take to start its first test, seconds. It must boot and import pytest and every test file.

That takes half a minute on an idle machine. A newer kernel boots more slowly, and the machine may be busy.
"""

SILENCE_MARGIN_S = 60.0
"""How long a guest may be silent beyond a test's own time limit, seconds. When its interpreter dies, another one must
import everything again."""

POLL_S = 0.05


@dataclass(slots=True)
class Progress:
    """What a guest has reported so far about one test."""

    reports: list[pytest.TestReport] = field(default_factory=list)
    started: bool = False
    finished: bool = False
    lost: str = ""
    """Why the rest of the test's reports will never come; empty while they may."""


class Runner:
    """One guest, and what it has reported about the tests that it took."""

    def __init__(self, config: pytest.Config, guest: Guest, folder: Path, *, timeout_s: float) -> None:
        self.guest = guest
        self.progress: dict[str, Progress] = {}
        """The progress of each test that this guest took."""
        self.collect_errors: list[str] = []
        self.exit_status: int | None = None
        self.end = ""
        """Why nothing more will come from this guest; empty while it works."""
        self._config = config
        self._stream = folder / "reports.jsonl"
        self._read_to = 0
        self._timeout_s = timeout_s
        self._finished = False
        self._deadline = time.monotonic() + BOOT_DEADLINE_S

    def follow(self) -> bool:
        """Read the guest's new records, and return whether there were any.

        If there were none, find out whether more can come, and set `end` if not.
        """
        gone = not self.guest.running  # asked first, because what the guest wrote before it ended must still be read
        if self._read():
            return True
        if gone:
            self._ended("the guest ended before it was through with this test")
        elif self.exit_status is not None and self._finished:
            self._ended("pytest in the guest did not find this test, or left it out")
        elif time.monotonic() > self._deadline:
            self.guest.kill()  # otherwise it could still take tests, although nobody reads its reports
            self._ended("no sign of life from the guest")
        return False

    def last_words(self) -> list[str]:
        """Return why files could not be imported, and the end of the guest's output and console."""
        return [*self.collect_errors, self.guest.last_words()]

    def trouble_at_end(self) -> str:
        """Wait for the end of the guest's interpreter. Return what went wrong outside all tests; "" if nothing did."""
        while self.exit_status is None and self.guest.running and time.monotonic() < self._deadline:
            if not self._read():
                time.sleep(POLL_S)
        self._read()
        failed = any(report.failed for progress in self.progress.values() for report in progress.reports)
        lost = any(progress.lost for progress in self.progress.values())
        if lost or (self._finished and self.exit_status == (1 if failed else 0)):
            return ""
        return "\n".join(
            [f"after its last test, the guest's pytest ended with status {self.exit_status}", *self.last_words()]
        )

    def _ended(self, why: str) -> None:
        self.end = self.end or why
        for progress in self.progress.values():
            if not progress.finished and not progress.lost:
                progress.lost = why

    def _read(self) -> bool:
        try:
            with self._stream.open("rb") as stream:
                stream.seek(self._read_to)
                new = stream.read()
        except FileNotFoundError:
            return False
        whole, newline, _ = new.rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        records = read_records(whole)
        for record in records:
            self._take(record)
            self._deadline = time.monotonic() + self._timeout_s + SILENCE_MARGIN_S
        return bool(records)

    def _take(self, record: dict[str, Any]) -> None:
        progress = self.progress.setdefault(record["nodeid"], Progress()) if "nodeid" in record else Progress()
        match record["kind"]:
            case "start":
                progress.started = True
            case "report":
                progress.reports.append(self._restored(record["report"]))
            case "finish":
                progress.finished = True
            case "collect_error":
                self.collect_errors.append(record["text"])
            case "finished":
                self._finished = True
            case "exited":
                self.exit_status = record["status"]
                for open_test in self.progress.values():
                    if open_test.started and not open_test.finished:
                        open_test.lost = f"the guest's interpreter died in this test: {_death(record['status'])}"

    def _restored(self, data: dict[str, Any]) -> pytest.TestReport:
        report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
        # JSON has turned tuples into lists, and pytest recognises a skipped test by a tuple.
        if isinstance(report.longrepr, list):
            report.longrepr = tuple(report.longrepr)
        report.location = tuple(report.location)
        report.sections = [tuple(section) for section in report.sections]
        report.user_properties = [tuple(pair) for pair in report.user_properties]
        return report  # type: ignore[no-any-return]  # a hook's result has no type


class RemoteRun:
    """Kernel tests that run in guests. Build one with `RemoteRun.of`."""

    def __init__(self, items: Sequence[pytest.Item], runners: Sequence[Runner]) -> None:
        self._runners = runners
        self._last = items[-1]

    @classmethod
    @contextlib.contextmanager
    def of(
        cls, config: pytest.Config, items: Sequence[pytest.Item], *, guests: int, timeout_s: float
    ) -> Iterator["RemoteRun"]:
        """Boot guests that run `items`, and kill the guests at the end of the block.

        guests: how many guests to boot. There are never more guests than tests.
        timeout_s: the time limit of one test, seconds.

        Raises `GuestError` when a guest cannot be started.
        """
        with contextlib.ExitStack() as stack:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-")))
            queue = root / "queue"
            queue.mkdir()
            request = json.dumps({"nodeids": [item.nodeid for item in items], "timeout_s": timeout_s})
            runners = []
            for number in range(1, min(guests, len(items)) + 1):
                folder = root / str(number)
                folder.mkdir()
                (folder / "request.json").write_text(request, encoding="utf-8")
                guest = Guest(
                    [str(LAB / "guest-pytest"), sys.executable, *_pytest_arguments(config, items)],
                    folder=folder,
                    cwd=config.rootpath,
                    deadline_s=BOOT_DEADLINE_S + len(items) * (timeout_s + SILENCE_MARGIN_S),
                    queue=queue,
                )
                runners.append(Runner(config, stack.enter_context(guest), folder, timeout_s=timeout_s))
            yield cls(items, runners)

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """Wait until a guest has finished `item` or lost it. Return its reports, and a failing one if it was lost."""
        runner = self._through_with(item.nodeid)
        progress = runner.progress[item.nodeid] if runner else Progress(lost=self._ends())
        reports = list(progress.reports)
        if progress.lost:
            words = runner.last_words() if runner else self._last_words()
            reports.append(_lost_report(item, progress, "\n".join([progress.lost, *words])))
        if item is self._last:
            troubles = [trouble for each in self._runners if (trouble := each.trouble_at_end())]
            reports += [failing_report(item, trouble, when="teardown") for trouble in troubles]
        return reports

    def _through_with(self, nodeid: str) -> Runner | None:
        """Wait until a guest has finished a test or lost it, and return the guest; None if no guest will run it."""
        while True:
            for runner in self._runners:
                if (progress := runner.progress.get(nodeid)) and (progress.finished or progress.lost):
                    return runner
            if all(runner.end for runner in self._runners):
                return None
            # Read from all guests, and not only until one has news. Otherwise a guest could seem silent.
            news = [runner.follow() for runner in self._runners if not runner.end]
            if not any(news):
                time.sleep(POLL_S)

    def _ends(self) -> str:
        return "\n".join(dict.fromkeys(runner.end for runner in self._runners))

    def _last_words(self) -> list[str]:
        errors = dict.fromkeys(error for runner in self._runners for error in runner.collect_errors)
        return [*errors, *(runner.guest.last_words() for runner in self._runners)]


def _lost_report(item: pytest.Item, progress: Progress, text: str) -> pytest.TestReport:
    if not progress.started:
        return failing_report(item, text, when="setup")
    called = any(report.when == "call" for report in progress.reports)
    return failing_report(item, text, when="teardown" if called else "call")


def failing_report(item: pytest.Item, text: str, *, when: Literal["setup", "call", "teardown"]) -> pytest.TestReport:
    """Return a report that fails `item` with `text`.

    when: the phase of the test that fails.
    """
    return pytest.TestReport(
        nodeid=item.nodeid, location=item.location, keywords={}, outcome="failed", longrepr=text, when=when
    )


def _pytest_arguments(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    files = dict.fromkeys(str(item.path) for item in items)
    return [
        f"--rootdir={config.rootpath}",
        f"--tb={config.option.tbstyle}",
        *(["--showlocals"] if config.option.showlocals else []),
        *files,
    ]


def _death(status: int) -> str:
    # When a process is killed by signal N, the shell reports the status 128 + N.
    if status == 124:
        return "the time for the whole run was over"
    if status > 128:
        with contextlib.suppress(ValueError):
            return signal.Signals(status - 128).name
    return f"exit status {status}, or a test over its time limit"
