"""The host's side of kernel tests in guests: asks for them, follows their reports, and knows when one was lost."""

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
"""Until the first test starts: boot, and the import of pytest and of every test file, all of it emulated.

Half a minute on an idle machine. The newer the kernel, the slower it boots, and the machine may be busy besides.
"""

SILENCE_MARGIN_S = 60.0
"""Beyond one test's own time limit: an interpreter that died is replaced, which is an import of everything again."""

POLL_S = 0.05


@dataclass(slots=True)
class Progress:
    """What is known of one test."""

    reports: list[pytest.TestReport] = field(default_factory=list)
    started: bool = False
    finished: bool = False
    lost: str = ""
    """Why the rest of it will never come."""


class Runner:
    """One guest, and what it has told of the tests that it took."""

    def __init__(self, config: pytest.Config, guest: Guest, folder: Path, *, timeout_s: float) -> None:
        self.guest = guest
        self.progress: dict[str, Progress] = {}
        """Of each test that it took, or will not give back."""
        self.collect_errors: list[str] = []
        self.exit_status: int | None = None
        self.end = ""
        """Why nothing more will come from it; empty while it works."""
        self._config = config
        self._stream = folder / "reports.jsonl"
        self._read_to = 0
        self._timeout_s = timeout_s
        self._finished = False
        self._deadline = time.monotonic() + BOOT_DEADLINE_S

    def follow(self) -> bool:
        """Take in what is new, and return whether there was anything; if not, see whether there ever will be."""
        gone = not self.guest.running  # asked before reading: what was written before it went must still be read
        if self._read():
            return True
        if gone:
            self._ended("the guest ended before it was through with this test")
        elif self.exit_status is not None and self._finished:
            self._ended("pytest in the guest did not find this test, or left it out")
        elif time.monotonic() > self._deadline:
            self.guest.kill()  # or it might take tests yet, with nobody listening
            self._ended("no sign of life from the guest")
        return False

    def last_words(self) -> list[str]:
        """Return why files could not be imported, and the end of the guest's output and console."""
        return [*self.collect_errors, self.guest.last_words()]

    def trouble_at_end(self) -> str:
        """Wait for the end of its interpreter; return what was wrong with it and has not been told by any test."""
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
        # JSON has made lists of tuples, and pytest tells a skip by its being a tuple.
        if isinstance(report.longrepr, list):
            report.longrepr = tuple(report.longrepr)
        report.location = tuple(report.location)
        report.sections = [tuple(section) for section in report.sections]
        report.user_properties = [tuple(pair) for pair in report.user_properties]
        return report  # type: ignore[no-any-return]  # a hook's result has no type


class RemoteRun:
    """Kernel tests on their way through guests, which share them out. Build one with `RemoteRun.of`."""

    def __init__(self, items: Sequence[pytest.Item], runners: Sequence[Runner]) -> None:
        self._runners = runners
        self._last = items[-1]

    @classmethod
    @contextlib.contextmanager
    def of(
        cls, config: pytest.Config, items: Sequence[pytest.Item], *, guests: int, timeout_s: float
    ) -> Iterator["RemoteRun"]:
        """Boot guests that run `items`, each for `timeout_s` at most; kill them at the end of the block.

        No more than `guests`, nor than there are tests. Raises `GuestError` when there is nothing to boot.
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
        """Wait until a guest is through with `item`; return all its reports, with a failing one if it was lost."""
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
        """Wait until a guest is through with a test or has lost it, and return the guest; None if none will run it."""
        while True:
            for runner in self._runners:
                if (progress := runner.progress.get(nodeid)) and (progress.finished or progress.lost):
                    return runner
            if all(runner.end for runner in self._runners):
                return None
            # Each of them, not only up to the first with news: none may seem silent because another talks.
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
    """Return a report, made here, that fails `item` with `text`."""
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
    # A shell reports death by signal N as 128 + N.
    if status == 124:
        return "the time for the whole run was over"
    if status > 128:
        with contextlib.suppress(ValueError):
            return signal.Signals(status - 128).name
    return f"exit status {status}, or a test over its time limit"
