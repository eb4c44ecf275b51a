"""The host's side of kernel tests in a guest: asks for them, follows their reports, and knows when one was lost."""

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


class RemoteRun:
    """Kernel tests on their way through a guest. Build one with `RemoteRun.of`."""

    def __init__(
        self, config: pytest.Config, items: Sequence[pytest.Item], guest: Guest, folder: Path, *, timeout_s: float
    ) -> None:
        self._config = config
        self._guest = guest
        self._stream = folder / "reports.jsonl"
        self._read_to = 0
        self._progress = {item.nodeid: Progress() for item in items}
        self._last = items[-1]
        self._timeout_s = timeout_s
        self._collect_errors: list[str] = []
        self._exit_status: int | None = None
        self._finished = False
        self._deadline = time.monotonic() + BOOT_DEADLINE_S

    @classmethod
    @contextlib.contextmanager
    def of(cls, config: pytest.Config, items: Sequence[pytest.Item], *, timeout_s: float) -> Iterator["RemoteRun"]:
        """Boot a guest that runs `items`, each for `timeout_s` at most; kill it at the end of the block.

        Raises `GuestError` when there is nothing to boot.
        """
        with tempfile.TemporaryDirectory(prefix="lab-") as name:
            folder = Path(name)
            request = {"nodeids": [item.nodeid for item in items], "timeout_s": timeout_s}
            (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
            guest = Guest(
                [str(LAB / "guest-pytest"), sys.executable, *_pytest_arguments(config, items)],
                folder=folder,
                cwd=config.rootpath,
                deadline_s=BOOT_DEADLINE_S + len(items) * (timeout_s + SILENCE_MARGIN_S),
            )
            with guest:
                yield cls(config, items, guest, folder, timeout_s=timeout_s)

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """Wait until the guest is through with `item`; return all its reports, with a failing one if it was lost."""
        progress = self._progress[item.nodeid]
        while not (progress.finished or progress.lost):
            self._follow()
        reports = list(progress.reports)
        if progress.lost:
            reports.append(self._lost_report(item, progress))
        if item is self._last and (trouble := self._end_of_run()):
            reports.append(failing_report(item, trouble, when="teardown"))
        return reports

    def _follow(self) -> None:
        """Take in what is new; when there is nothing new, see whether there will ever be."""
        gone = not self._guest.running  # asked before reading: what was written before it went must still be read
        if self._read():
            return
        if gone:
            self._lose_all("the guest ended before it was through with this test")
        elif self._exit_status is not None and self._finished:
            self._lose_all("pytest in the guest did not find this test, or left it out")
        elif time.monotonic() > self._deadline:
            self._lose_all("no sign of life from the guest")
        else:
            time.sleep(POLL_S)

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
        progress = self._progress.get(record.get("nodeid", ""), Progress())
        match record["kind"]:
            case "start":
                progress.started = True
            case "report":
                progress.reports.append(self._restored(record["report"]))
            case "finish":
                progress.finished = True
            case "collect_error":
                self._collect_errors.append(record["text"])
            case "finished":
                self._finished = True
            case "exited":
                self._exit_status = record["status"]
                for open_test in self._progress.values():
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

    def _lose_all(self, why: str) -> None:
        for progress in self._progress.values():
            if not progress.finished and not progress.lost:
                progress.lost = why

    def _lost_report(self, item: pytest.Item, progress: Progress) -> pytest.TestReport:
        text = "\n".join([progress.lost, *self._collect_errors, self._guest.last_words()])
        if not progress.started:
            return failing_report(item, text, when="setup")
        called = any(report.when == "call" for report in progress.reports)
        return failing_report(item, text, when="teardown" if called else "call")

    def _end_of_run(self) -> str:
        """After the last test: wait for the interpreter's end; return what was wrong with it, or nothing."""
        while self._exit_status is None and self._guest.running and time.monotonic() < self._deadline:
            if not self._read():
                time.sleep(POLL_S)
        self._read()
        failed = any(report.failed for progress in self._progress.values() for report in progress.reports)
        lost = any(progress.lost for progress in self._progress.values())
        if lost or (self._finished and self._exit_status == (1 if failed else 0)):
            return ""  # either all is well, or what is not has been reported test by test
        return "\n".join(
            [
                f"after the last test, the guest's pytest ended with status {self._exit_status}",
                *self._collect_errors,
                self._guest.last_words(),
            ]
        )


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
