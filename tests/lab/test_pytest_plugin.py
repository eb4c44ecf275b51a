"""Kernel tests in a guest report here as if they ran here, and none can be lost without a failure.

A pytest of its own runs a small project of kernel tests. Its guest is only a process, but everything else is as in the
lab: the runner, the reporter, the stream of reports. One test at the end does the same with a real guest.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

CONFTEST = """
import pytest
pytest_plugins = ["lab.pytest_plugin"]
"""

# A stand-in for the guest: it runs the same command as a process on this machine.
PROCESS_GUEST = """
import contextlib
import os
import signal
import subprocess

class ProcessGuest:
    def __init__(self, command, *, folder, cwd, deadline_s, queue):
        self.command, self.cwd = command, cwd
        self.folder, self.queue = folder, queue

    def __enter__(self):
        folders = {"LVS_HEALTHD_LAB_FOLDER": str(self.folder), "LVS_HEALTHD_LAB_QUEUE": str(self.queue)}
        env = {**os.environ, "LVS_HEALTHD_LAB": "inside", **folders}
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=env, stdout=output, stderr=output, start_new_session=True
            )
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def running(self):
        return self.process.poll() is None

    def last_words(self):
        return (self.folder / "output").read_text()

def pytest_configure():
    import lab.remote
    if os.environ["LVS_HEALTHD_LAB"] == "vm":
        lab.remote.Guest = ProcessGuest
        lab.remote.SILENCE_MARGIN_S = 5.0
"""


class Project:
    """A folder with kernel tests, and a pytest for it."""

    def __init__(self, folder: Path, tests: str, *, conftest: str) -> None:
        self.folder = folder
        settings = [
            "[pytest]",
            "markers = kernel: real",
            "asyncio_mode = auto",
            "asyncio_default_fixture_loop_scope = function",
            "filterwarnings = error",
            "addopts = -ra",
        ]
        (folder / "pytest.ini").write_text("\n".join(settings))
        (folder / "conftest.py").write_text(CONFTEST + conftest)
        self.kernel_file("test_kernel.py", tests)

    def kernel_file(self, name: str, tests: str) -> None:
        (self.folder / name).write_text("import pytest\npytestmark = pytest.mark.kernel\n" + tests)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.started(*arguments) as process:
            output, errors = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "LVS_HEALTHD_LAB": "vm"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def in_process(folder: Path, tests: str) -> Project:
    return Project(folder, tests, conftest=PROCESS_GUEST)


def test_every_outcome_is_counted_as_it_happened(folder: Path) -> None:
    project = in_process(
        folder,
        """
import asyncio, os

@pytest.fixture
def broken_setup():
    raise RuntimeError("no setup")

@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("no teardown")

def test_passes_where_the_guest_is(): assert os.environ["LVS_HEALTHD_LAB"] == "inside"
async def test_passes_with_a_loop(): await asyncio.sleep(0)
@pytest.mark.parametrize("value", ["a b", "[x]::1", "ü", "/"])
def test_parametrized(value): assert value
def test_skipped(): pytest.skip("not today")
@pytest.mark.xfail(reason="known", strict=True)
def test_expected_failure(): assert False
def test_error_in_setup(broken_setup): pass
def test_error_in_teardown(broken_teardown): pass
def test_warning_is_an_error():
    import warnings
    warnings.warn("careful")
def test_fails():
    wanted = 42
    print("printed before")
    assert wanted == 43
""",
    )
    result = project.run()
    assert result.returncode == 1
    assert re.search(r"2 failed, 7 passed, 1 skipped, 1 xfailed, 2 errors in", result.stdout), result.stdout
    assert "assert 42 == 43" in result.stdout
    assert "printed before" in result.stdout
    assert "test_kernel.py:30: AssertionError" in result.stdout
    assert "not today" in result.stdout
    assert "UserWarning: careful" in result.stdout


def test_all_passing_is_a_success(folder: Path) -> None:
    result = in_process(folder, "def test_one(): pass\ndef test_two(): pass\n").run()
    assert (result.returncode, "2 passed" in result.stdout) == (0, True), result.stdout


@pytest.mark.parametrize(
    ("death", "said"),
    [
        ("os._exit(0)", "exit status 0"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("time.sleep(1000)", "test_kernel.py"),  # the stack at which it hung
    ],
)
def test_death_of_the_interpreter_fails_that_test_and_the_others_still_run(folder: Path, death: str, said: str) -> None:
    project = in_process(
        folder,
        f"import os, time\ndef test_before(): pass\ndef test_deadly(): {death}\ndef test_after(): pass\n",
    )
    result = project.run("--kernel-timeout=2")
    assert result.returncode == 1
    assert "1 failed, 2 passed" in result.stdout, result.stdout
    assert "FAILED test_kernel.py::test_deadly" in result.stdout
    assert "interpreter died in this test" in result.stdout
    assert said in result.stdout


def test_death_after_the_last_test_is_a_failure(folder: Path) -> None:
    project = in_process(folder, "import atexit, os\ndef test_one(): atexit.register(os._exit, 7)\n")
    result = project.run()
    assert result.returncode == 1
    assert "pytest ended with status 7" in result.stdout


# A file for each of two guests. The first test of each file waits for the other's, so both guests run.
MEETING = """
import os, pathlib, signal, time

def meet(mine, other):
    pathlib.Path(mine).touch()
    give_up = time.monotonic() + 60
    while not pathlib.Path(other).exists():
        assert time.monotonic() < give_up
        time.sleep(0.01)

def note(nodeid):
    with open("ran", "a") as file:
        file.write(f"{os.getppid()} {nodeid}\\n")
"""


def of_two_guests(folder: Path, trouble: str) -> Project:
    """Return a project for two guests in which the second test of the first file gets into trouble."""
    project = in_process(
        folder,
        MEETING
        + f"""
def test_meets(): meet("here", "there"); note("a1")
def test_deadly():
    pathlib.Path("in trouble").touch()
    {trouble}
def test_after(): note("a3")
def test_long_after(): note("a4")
""",
    )
    second = (
        MEETING
        + """
def test_meets(): meet("there", "here"); note("b1")
def test_looks_on(): meet("there", "in trouble"); note("b2")
def test_later(): note("b3")
"""
    )
    project.kernel_file("test_second.py", second)
    return project


def ran(folder: Path) -> dict[str, str]:
    """Return which guest ran which test. Fails if a test was run twice."""
    lines = [line.split() for line in (folder / "ran").read_text().splitlines()]
    found = {test: guest for guest, test in lines}
    assert len(found) == len(lines)
    return found


def test_guests_share_the_tests_out_and_each_is_run_once(folder: Path) -> None:
    result = of_two_guests(folder, "note('a2')").run("-v")
    assert (result.returncode, "7 passed" in result.stdout) == (0, True), result.stdout
    guests = ran(folder)
    assert sorted(guests) == ["a1", "a2", "a3", "a4", "b1", "b2", "b3"]
    assert guests["a1"] != guests["b1"]
    # The reports are in the host's order, whichever guest was first.
    files = [line.partition("::")[0] for line in result.stdout.splitlines() if "PASSED" in line]
    assert files == ["test_kernel.py"] * 4 + ["test_second.py"] * 3


def test_one_of_two_processes_waits_for_the_guests_and_the_other_runs_the_tests_of_the_host(folder: Path) -> None:
    project = of_two_guests(folder, "note('a2')")
    (folder / "kernel").mkdir()
    for file in folder.glob("test_*.py"):
        file.rename(folder / "kernel" / file.name)
    (folder / "test_host.py").write_text(
        "import os\nimport pytest\n@pytest.mark.parametrize('number', range(9))\n"
        "def test_host(number): assert os.environ['LVS_HEALTHD_LAB'] == 'vm'\n"
    )
    result = project.run("-v", "-n", "2")
    assert (result.returncode, "16 passed" in result.stdout) == (0, True), result.stdout
    assert sorted(ran(folder)) == ["a1", "a2", "a3", "a4", "b1", "b2", "b3"]
    process_of = dict(re.findall(r"\[(gw[01])\].* PASSED (kernel|test_host)", result.stdout))
    assert set(process_of) == {"gw0", "gw1"}, result.stdout


@pytest.mark.parametrize(
    "processes", [(), pytest.param(("-n", "2"), marks=pytest.mark.long)], ids=["alone", "two-processes"]
)
def test_sigterm_leaves_no_guest_behind(folder: Path, processes: tuple[str, ...]) -> None:
    tests = f"""import os, time
def test_one():
    with open({str(folder / "pid")!r}, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(120)
"""
    with in_process(folder, tests).started(*processes) as process:
        while not ((folder / "pid").exists() and (folder / "pid").read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert "ended by SIGTERM" in output
    assert process.returncode == 128 + signal.SIGTERM
    guest = Path("/proc", (folder / "pid").read_text())
    deadline = time.monotonic() + 10
    while guest.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_guest_is_enough(folder: Path) -> None:
    project = in_process(folder, MEETING + "def test_one(): note('a1')\ndef test_two(): note('a2')\n")
    assert "2 passed" in project.run("--guests=1").stdout
    assert len(set(ran(folder).values())) == 1


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("os.killpg(0, signal.SIGKILL)", "the guest ended before it was through with this test"),
        ("os.killpg(0, signal.SIGSTOP)", "no sign of life from the guest"),
    ],
    ids=["death", "silence"],
)
def test_guest_that_is_lost_loses_what_it_had_taken_and_the_other_does_the_rest(
    folder: Path, trouble: str, said: str
) -> None:
    result = of_two_guests(folder, trouble).run("--kernel-timeout=2")
    assert result.returncode == 1
    # The guest had already taken the next test.
    assert re.search(r"1 failed, 5 passed, 1 error in", result.stdout), result.stdout
    assert "FAILED test_kernel.py::test_deadly" in result.stdout
    assert "ERROR test_kernel.py::test_after" in result.stdout
    assert said in result.stdout
    assert sorted(ran(folder)) == ["a1", "a4", "b1", "b2", "b3"]


def test_guest_that_does_not_boot_is_a_failure_though_the_other_has_run_everything(folder: Path) -> None:
    project = in_process(folder, "def test_one(): pass\ndef test_two(): pass\n")
    conftest = folder / "conftest.py"
    text = conftest.read_text().replace(
        "def __enter__(self):",
        """def __enter__(self):
        if self.folder.name == "2":
            self.command = ["sh", "-c", "echo no boot today; exit 3"]""",
    )
    conftest.write_text(text)
    result = project.run()
    assert result.returncode == 1
    assert "2 passed, 1 error" in result.stdout, result.stdout
    assert "no boot today" in result.stdout


def test_file_that_cannot_be_imported_in_the_guest_is_a_failure(folder: Path) -> None:
    project = in_process(
        folder,
        "import os\nif os.environ['LVS_HEALTHD_LAB'] == 'inside': import no_such_module\ndef test_one(): pass\n",
    )
    result = project.run()
    assert result.returncode == 1
    assert "1 failed" in result.stdout or "1 error" in result.stdout, result.stdout
    assert "No module named 'no_such_module'" in result.stdout


def test_guest_that_cannot_be_booted_is_a_failure(folder: Path) -> None:
    conftest = """
def pytest_configure():
    import lab.boot

    def no_kernel():
        raise lab.boot.GuestError("there is no kernel today")

    lab.boot.kernel_image = no_kernel
"""
    result = Project(folder, "def test_one(): pass\n", conftest=conftest).run()
    assert result.returncode == 1
    assert "1 error" in result.stdout, result.stdout
    assert "there is no kernel today" in result.stdout


@pytest.mark.long
def test_nothing_boots_when_no_kernel_test_is_selected(folder: Path) -> None:
    conftest = "def pytest_configure():\n    import lab.remote\n    lab.remote.Guest = None\n"
    project = Project(folder, "def test_one(): pass\n", conftest=conftest)
    (folder / "test_host.py").write_text("def test_here(): pass\n")
    assert "1 passed, 1 deselected" in project.run("-k", "test_here").stdout
    assert "1 passed" in project.run("test_host.py").stdout
    assert "2 tests collected" in project.run("--collect-only").stdout


def test_host_tests_come_first(folder: Path) -> None:
    project = in_process(folder, "def test_remote(): pass\n")
    (folder / "test_z_host.py").write_text("def test_here(): pass\n")
    lines = [line for line in project.run("-v").stdout.splitlines() if "PASSED" in line]
    assert [line.split(" ")[0] for line in lines] == ["test_z_host.py::test_here", "test_kernel.py::test_remote"]


@pytest.mark.boots
@pytest.mark.long
def test_real_guest_brings_failure_crash_and_its_own_death_back(folder: Path) -> None:
    project = Project(
        folder,
        """
import os
from pathlib import Path

def test_passes(): assert Path("/proc/net/ip_vs").exists()
def test_fails(): assert Path("/proc/net/ip_vs").read_text() == "nothing"
def test_crashes(): os._exit(0)
def test_panics(): Path("/proc/sysrq-trigger").write_text("c")
def test_never_reached(): pass
""",
        conftest="",
    )
    result = project.run("--guests=1")
    assert result.returncode == 1
    assert re.search(r"3 failed, 1 passed, 1 error in|4 failed, 1 passed in", result.stdout), result.stdout
    assert "IP Virtual Server version" in result.stdout
    assert "exit status 0" in result.stdout
    # The end of the console came back, and says what killed the guest. One of the three lines is enough, because a
    # panic stops the other processor even in the middle of a line.
    assert re.search(r"sysrq: Trigger a crash|Kernel panic - not syncing|sysrq_handle_crash", result.stdout), (
        result.stdout
    )
