"""pytest plugin: runs tests marked `kernel` where there is IPVS, here or in guests, and reports them all here.

If this machine has no IPVS, guests are booted when the tests start. They divide the selected kernel tests among
themselves, while the host runs its own tests. After those, the reports of the kernel tests arrive from the guests, and
appear here in the usual order.

Where several processes share the host's tests (`pytest -n 3`), one of them waits for the guests (`lab.workers`).
"""

import contextlib
import signal
from collections.abc import Generator, Sequence

import pytest

from lab.boot import GuestError
from lab.host import needs_guest
from lab.remote import RemoteRun, failing_report

TEST_TIMEOUT_S = 240.0
"""The time limit of one kernel test in the guest, seconds. A test may start an emulated daemon several times, on a
machine that is busy with other things."""

GUESTS = 2
"""How many guests share the kernel tests: one for each processor of a small machine."""

_GUESTS = pytest.StashKey["_Guests"]()


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Let one of several processes wait for the guests."""
    from lab.workers import ByFile  # noqa: PLC0415  # the plugin works without pytest-xdist

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run the guests for as long as the tests run, if any test needs a guest.

    In one of several processes, they are booted when it is given the first kernel test, because another process may be.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ending_in_good_order())
        items = [item for item in session.items if _is_kernel(item)]
        if items and not session.config.option.collectonly and not session.testsfailed and needs_guest():
            guests = _Guests(session.config, items, stack)
            session.config.stash[_GUESTS] = guests
            if not hasattr(session.config, "workerinput"):
                guests.boot()
        return (yield)


class _Guests:
    """The guests of this run, or why there are none."""

    def __init__(self, config: pytest.Config, items: Sequence[pytest.Item], stack: contextlib.ExitStack) -> None:
        self._config = config
        self._items = items
        self._stack = stack
        self._run: RemoteRun | GuestError | None = None

    def boot(self) -> RemoteRun | GuestError:
        """Boot the guests if that was not done yet. They end when the stack is closed."""
        if self._run is None:
            option = self._config.option
            of = RemoteRun.of(self._config, self._items, guests=option.guests, timeout_s=option.kernel_timeout)
            try:
                self._run = self._stack.enter_context(of)
            except GuestError as error:
                self._run = error
        return self._run

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """Wait until a guest is through with `item`, and return its reports."""
        run = self.boot()
        return [failing_report(item, str(run), when="setup")] if isinstance(run, GuestError) else run.reports(item)


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
    guests = item.config.stash.get(_GUESTS, None)
    if guests is None or not _is_kernel(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in guests.reports(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _is_kernel(item: pytest.Item) -> bool:
    return item.get_closest_marker("kernel") is not None


def _turn(item: pytest.Item) -> int:
    return 2 if _is_kernel(item) else 1 if item.get_closest_marker("boots") else 0
