"""The process that runs programs, as a real process: what comes of each program, and that none is left behind."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Convention, ExecCheck, MonNames, Per
from lvs_healthd.events.kinds import Event, ExecFailed
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure, up
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.once import run_once
from lvs_healthd.programs.child import Child, present
from lvs_healthd.programs.running import KILL_AFTER_S

MOST = 4
PATIENCE_S = 20.0


@contextlib.asynccontextmanager
async def child(path: Path, *, most: int = MOST) -> AsyncIterator[list[Event]]:
    """Run a child that serves `path`, and yield the events."""
    events: list[Event] = []
    kept = Child(most, str(path.with_name("files")), events.append)
    await kept.start(str(path))
    try:
        yield events
    finally:
        await kept.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def helper(tmp_path: Path) -> AsyncIterator[str]:
    path = tmp_path / "exec.sock"
    async with child(path) as events:
        yield str(path)
        assert events == []


def check(
    helper: str, *command: str, timeout: float = 10.0, convention: Convention = Convention.KEEPALIVED, port: int = 80
) -> ExecCheck:
    return ExecCheck(
        name="exec",
        address="192.0.2.1",
        port=port,
        timeout=Seconds(timeout),
        command=command,
        convention=convention,
        helper=helper,
    )


async def outcome_of(asked: ExecCheck) -> Outcome:
    return without_run((await run_once([asked]))[probe_key(asked)].outcome)


def without_run(outcome: Outcome) -> Outcome:
    """Leave out what hooks with mon's convention are told, which has tests of its own."""
    return msgspec.structs.replace(outcome, monitor=None)


def sh(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


NAGIOS, MON = Convention.NAGIOS, Convention.MON


@pytest.mark.parametrize(
    ("script", "convention", "outcome"),
    [
        ("exit 0", NAGIOS, up("exit status 0")),
        ("echo 'TCP OK | time=0.1s'; echo more", NAGIOS, up("exit status 0: TCP OK")),
        ("echo WARNING; exit 1", NAGIOS, up("exit status 1: WARNING")),
        ("echo CRITICAL; exit 2", NAGIOS, down(Reason.BAD_ANSWER, "exit status 2: CRITICAL")),
        ("echo none; exit 3", NAGIOS,
         unsure(Reason.LOCAL_LIMIT, "exit status 3, which means that the program does not know: none")),
        ("exit 127", NAGIOS, down(Reason.BAD_ANSWER, "exit status 127")),
        ("exit 1", MON, down(Reason.BAD_ANSWER, "exit status 1")),
        ("echo 192.0.2.1; exit 3", MON, down(Reason.BAD_ANSWER, "exit status 3: 192.0.2.1")),
        ("echo a >&2; exit 1", Convention.KEEPALIVED, down(Reason.BAD_ANSWER, "exit status 1: a")),
        ("kill -9 $$", MON, down(Reason.BAD_ANSWER, "the program was killed by signal 9")),
        (r"printf 'a\033[2Jb\377'", MON, up("exit status 0: a\\x1b[2Jb\N{REPLACEMENT CHARACTER}")),
    ],
)  # fmt: skip
async def test_exit_status_means_what_the_convention_says(
    helper: str, script: str, convention: Convention, outcome: Outcome
) -> None:
    assert await outcome_of(check(helper, *sh(script), convention=convention)) == outcome


async def test_program_that_cannot_be_run_is_our_own_fault(helper: str, tmp_path: Path) -> None:
    assert (await outcome_of(check(helper, "/no/such"))).detail == "cannot run /no/such: No such file or directory"
    script = tmp_path / "script"
    script.write_text("no header, no permission")
    found = await outcome_of(check(helper, str(script)))
    assert (found.kind, found.detail) == (OutcomeKind.UNSURE, f"cannot run {script}: Permission denied")


@pytest.mark.parametrize(
    ("command", "convention", "printed"),
    [
        (("a {address}:{port}", "b"), NAGIOS, "a 192.0.2.1:80,b,"),
        (("-p", "80"), MON, "-p,80,192.0.2.1,"),
        (("-p", "80", ";;"), MON, "-p,80,"),
        ((), MON, "192.0.2.1,"),
    ],
)
async def test_arguments_are_those_of_the_convention_and_no_shell_sees_them(
    helper: str, tmp_path: Path, command: tuple[str, ...], convention: Convention, printed: str
) -> None:
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\nprintf "%s," "$@"\n')
    script.chmod(0o755)
    found = await outcome_of(check(helper, str(script), *command, convention=convention))
    assert found.detail == f"exit status 0: {printed}"


async def test_environment_is_clean_input_is_empty_and_the_folder_is_the_root(
    helper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LVS_SECRET", "hunter2")
    names = "env | cut -d= -f1 | sort | tr '\\n' ' '; cat; pwd"
    found = await outcome_of(check(helper, *sh(names)))
    assert found.detail == "exit status 0: HOME LANG LVS_ADDRESS LVS_PORT PATH PWD /"
    assert (await outcome_of(check(helper, *sh("echo $LVS_ADDRESS-$LVS_PORT"), port=0))).detail.endswith("192.0.2.1-")


async def test_much_output_neither_blocks_the_program_nor_is_kept(helper: str) -> None:
    found = await outcome_of(check(helper, *sh("head -c 3000000 /dev/zero | tr '\\0' x; exit 1")))
    assert found.detail == "exit status 1: " + "x" * 120


def processes(word: str) -> list[int]:
    """Return the ids of the processes that have a word among their arguments."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


async def test_program_that_hangs_is_down_and_ends_with_all_it_has_started(helper: str) -> None:
    word = f"7777.{os.getpid()}"
    found = await outcome_of(check(helper, *sh(f"trap '' TERM; sleep {word} & sleep {word}"), timeout=0.3))
    assert (found.kind, found.reason) == (OutcomeKind.DOWN, Reason.TIMEOUT)
    assert found.detail.startswith("the program has not ended in 300ms")
    began = time.monotonic()
    await until(lambda: not processes(word))
    assert time.monotonic() - began < 2 * KILL_AFTER_S


async def test_what_a_program_leaves_behind_is_ended_and_not_waited_for(helper: str) -> None:
    word = f"8888.{os.getpid()}"
    found = await outcome_of(check(helper, *sh(f"sleep {word} & exit 0")))
    assert found == up("exit status 0")
    await until(lambda: not processes(word))


async def test_no_more_than_allowed_run_at_once_and_who_cannot_start_is_unsure(helper: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"echo begin >> {log}; sleep 0.2; echo end >> {log}"
    many = [check(helper, *sh(f"{script}; exit {number % 2}")) for number in range(12)]
    many = [*many, *(check(helper, "/bin/echo", str(number)) for number in range(12))]
    assert len(await run_once(many)) == 14  # what is equal is run once
    sleeping = [check(helper, "/bin/sleep", "1", timeout=0.4, port=port) for port in range(1, MOST + 3)]
    found = await run_once(sleeping)
    kinds = [each.outcome.kind for each in found.values()]
    assert kinds.count(OutcomeKind.DOWN) == MOST
    assert kinds.count(OutcomeKind.UNSURE) == 2
    assert any("max_exec" in each.outcome.detail for each in found.values())


def most_at_once(words: Iterable[str]) -> int:
    running = most = 0
    for word in words:
        running += 1 if word == "begin" else -1
        most = max(most, running)
    return most


async def test_programs_are_counted(helper: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"echo begin >> {log}; sleep 0.1; echo end >> {log}"
    await run_once([check(helper, *sh(script), port=port) for port in range(1, 17)])
    words = log.read_text().split()
    assert len(words) == 32
    assert most_at_once(words) == MOST


def group(helper: str, command: tuple[str, ...], *addresses: str) -> list[ExecCheck]:
    """Return the checks of servers that share one run."""
    one = check(helper, *command, convention=Convention.MON)
    return [
        msgspec.structs.replace(one, per=Per.GROUP, address=address, mon=MonNames(group="web", service="http"))
        for address in addresses
    ]


async def test_one_run_serves_a_group_and_only_the_servers_that_it_names_are_down(helper: str, tmp_path: Path) -> None:
    log, script = tmp_path / "log", tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\necho "$3 $1"\necho "$3 is broken"\nexit 2\n')
    script.chmod(0o755)
    asked = group(helper, (str(script),), "192.0.2.1", "192.0.2.2", "192.0.2.3")
    found = await run_once(asked)
    assert log.read_text() == "192.0.2.1 192.0.2.2 192.0.2.3\n"
    assert [without_run(found[probe_key(each)].outcome) for each in asked] == [
        down(Reason.BAD_ANSWER, "exit status 2: 192.0.2.3 192.0.2.1"),
        up("exit status 2, but for other servers only"),
        down(Reason.BAD_ANSWER, "exit status 2: 192.0.2.3 is broken"),
    ]


async def test_monitor_has_a_folder_for_its_files_that_is_there_the_next_time(helper: str, tmp_path: Path) -> None:
    (asked,) = group(helper, sh('echo x >> "$MON_STATEDIR/seen"; wc -l < "$MON_LOGDIR/seen"'), "192.0.2.1")
    assert (await outcome_of(asked)).detail == "exit status 0: 1"
    assert (await outcome_of(asked)).detail == "exit status 0: 2"
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700


async def test_socket_is_for_this_user_alone(helper: str) -> None:
    assert Path(helper).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("garbage", [b"[]\n", b'{"argv":["\xff"]}\n', b'{"odd":' + b"[" * 2000 + b"]" * 2000 + b"}\n"])
async def test_garbage_is_refused_with_words(helper: str, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as asking:
        await asyncio.get_running_loop().run_in_executor(None, asking.connect, helper)
        asking.sendall(garbage)
        asking.settimeout(PATIENCE_S)
        assert b"not a request" in await asyncio.to_thread(asking.recv, 4096)
    assert (await outcome_of(check(helper, "/bin/true"))).kind is OutcomeKind.UP


async def test_process_that_is_not_there_makes_checks_unsure(tmp_path: Path) -> None:
    path = tmp_path / "exec.sock"
    missing = f"the process that runs programs is not there: {path}: No such file or directory"
    assert await outcome_of(check(str(path), "/bin/true")) == unsure(Reason.LOCAL_LIMIT, missing)


async def test_process_that_does_not_end_is_killed_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    path = tmp_path / "exec.sock"
    async with child(path):
        (pid,) = processes(str(path))
        os.kill(pid, signal.SIGSTOP)
    is_left = Path(f"/proc/{pid}").exists()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    assert not is_left


async def test_process_that_dies_is_replaced_and_takes_its_programs_with_it(tmp_path: Path) -> None:
    path, word = tmp_path / "exec.sock", f"9999.{os.getpid()}"
    async with child(path) as events:
        running = asyncio.create_task(outcome_of(check(str(path), "/bin/sleep", word)))
        await until(lambda: processes(word))
        (pid,) = processes(str(path))
        os.kill(pid, signal.SIGTERM)  # as systemd does with every process of a unit, when only the daemon is to end
        assert (await outcome_of(check(str(path), "/bin/true"))).kind is OutcomeKind.UP
        found = await running
        assert (found.kind, found.reason) == (OutcomeKind.UNSURE, Reason.LOCAL_LIMIT)
        await until(lambda: not processes(word))
        await until(lambda: events)
        assert events == [ExecFailed(reason="ended with status 0", retry_s=0.5)]
        await until(lambda: [each for each in processes(str(path)) if each != pid])
        async with asyncio.timeout(PATIENCE_S):
            while (await outcome_of(check(str(path), "/bin/true"))).kind is not OutcomeKind.UP:
                await asyncio.sleep(0.05)
    await until(lambda: not processes(str(path)))


async def test_child_has_no_capabilities_and_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "exec.sock"
    async with present(str(path)):
        found = await outcome_of(check(str(path), *sh("grep -E '^Cap(Prm|Eff)' /proc/self/status | tr -d '\\t\\n'")))
        none = "0" * 16
        assert found.detail == f"exit status 0: CapPrm:{none}CapEff:{none}"
        async with present(str(path)):  # a second one uses the first one's
            assert len(processes(str(path))) == 1
    await until(lambda: not processes(str(path)))
