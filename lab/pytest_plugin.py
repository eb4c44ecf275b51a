"""pytest plugin: runs tests marked `kernel` where there is IPVS, here or in guests, and reports them all here.

If this machine has no IPVS, guests are booted when the tests start. They divide the selected kernel tests among
themselves, while the host runs its own tests. After those, the reports of the kernel tests arrive from the guests, and
appear here in the usual order.
"""

import contextlib
import signal
from collections.abc import Generator

import pytest

from lab.boot import GuestError
from lab.host import needs_guest
from lab.remote import RemoteRun, failing_report

TEST_TIMEOUT_S = 240.0
"""The time limit of one kernel test in the guest, seconds. A test may start an emulated daemon several times, on a
machine that is busy with other things."""

GUESTS = 2
"""How many guests share the kernel tests: one for each processor of a small machine."""

_RUN = pytest.StashKey[RemoteRun | GuestError]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for the time limit of a kernel test and for the number of guests."""
    parser.addoption(
        "--kernel-timeout",
        type=float,
        default=TEST_TIMEOUT_S,
        metavar="SECONDS",
        help=f"time limit of one kernel test in the guest (default {TEST_TIMEOUT_S:g})",
    )
    parser.addoption(
        "--guests",
        type=int,
        default=GUESTS,
        metavar="NUMBER",
        help=f"how many guests share the kernel tests at most (default {GUESTS})",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker `boots`, for tests of the lab itself."""
    config.addinivalue_line("markers", "boots: boots a guest of its own; runs after the host's other tests")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the host's tests first, because they can run while the guests boot."""
    items.sort(key=_turn)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run the guests for as long as the tests run, if any test needs a guest."""
    items = [item for item in session.items if _is_kernel(item)]
    if not items or session.config.option.collectonly or session.testsfailed or not needs_guest():
        return (yield)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ending_in_good_order())
        try:
            run: RemoteRun | GuestError = stack.enter_context(
                RemoteRun.of(
                    session.config,
                    items,
                    guests=session.config.option.guests,
                    timeout_s=session.config.option.kernel_timeout,
                )
            )
        except GuestError as error:
            run = error
        session.config.stash[_RUN] = run
        return (yield)


@contextlib.contextmanager
def _ending_in_good_order() -> Generator[None]:
    """Let SIGTERM end the run as Ctrl-C does, so that no guest goes on for minutes."""

    def end(number: int, _frame: object) -> None:
        pytest.exit("ended by SIGTERM", returncode=128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Report a kernel test's result from the guest, instead of running the test here."""
    run = item.config.stash.get(_RUN, None)
    if run is None or not _is_kernel(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = [failing_report(item, str(run), when="setup")] if isinstance(run, GuestError) else run.reports(item)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _is_kernel(item: pytest.Item) -> bool:
    return item.get_closest_marker("kernel") is not None


def _turn(item: pytest.Item) -> int:
    return 2 if _is_kernel(item) else 1 if item.get_closest_marker("boots") else 0
