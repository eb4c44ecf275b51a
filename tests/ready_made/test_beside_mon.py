"""The same monitor, run by Debian's mon and by us: arguments, input, environment and what becomes of the output."""

import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lvs_healthd.probes.targets import target
from lvs_healthd.probing.groups import Groups
from lvs_healthd.probing.once import run_targets
from lvs_healthd.probing.probe import Probe
from tests.ready_made.checks import PATIENCE_S
from tests.ready_made.monitors import monitor_environment, monitors, unit_for_programs
from tests.ready_made.servers import free_port, program, unpacked

HOSTS = ("192.0.2.1", "192.0.2.2")

RECORDER = f"""#!{sys.executable} -IS
import json, os, sys
path = os.environ["RECORD"]
runs = len(open(path).readlines()) if os.path.exists(path) else 0
seen = {{
    "argv": sys.argv,
    "environment": dict(os.environ),
    "input": sys.stdin.read(),
    "folder": os.getcwd(),
    "same_output": os.fstat(1).st_ino == os.fstat(2).st_ino,
}}
with open(path, "a") as record:
    record.write(json.dumps(seen) + "\\n")
if runs == 0:
    print("\\nall well")
elif runs == 1:
    print("192.0.2.2\\nwhy\\n", end="", flush=True)
    print("an error", file=sys.stderr)
    sys.exit(3)
elif runs == 2:
    print("   \\nno summary")
    sys.exit(200)
elif runs == 4:
    os.kill(os.getpid(), 9)
"""
"""A monitor that records how it is run, and passes, fails in two ways, passes without output, and is killed."""

RUNS = 6
"""How many runs are compared. What the last one does is not seen any more."""
KILLED = 5
"""The run that is told of the one that was killed."""

SERVICES = {
    "plain": (["-p", "80", "-u", "/a b", "it's"], '-p 80 -u "/a b" it\\\'s'),
    "bare": (["--all"], "--all ;;"),
    "glued": (["--all"], "--all;;"),
}
"""For each service its arguments, and how mon's configuration writes them."""

TIMES = re.compile(r"MON_(LAST|FIRST)_(FAILURE|SUCCESS)")


Record = dict[str, Any]


def recorded(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_by_mon(script: Path, folder: Path) -> dict[str, list[Record]]:
    """Let mon run the monitor often enough in each service."""
    port = free_port()
    records = {name: folder / f"mon-{name}" for name in SERVICES}
    for made in ("state", "log", "alert.d"):
        (folder / made).mkdir()
    for empty in ("users", "auth.cf"):
        (folder / empty).touch()
    services = "".join(
        f"    service {name}\n        description The {name} one\n        RECORD={records[name]}\n        interval 1s\n"
        f"        monitor {script.name} {words}\n        period wd {{Sun-Sat}}\n            numalerts 1\n"
        for name, (_, words) in SERVICES.items()
    )
    (folder / "mon.cf").write_text(
        f"cfbasedir = {folder}\nalertdir = {folder}/alert.d\nmondir = {script.parent}\nstatedir = {folder}/state\n"
        f"logdir = {folder}/log\npidfile = {folder}/pid\nauthtype = userfile\nuserfile = {folder}/users\n"
        f"serverport = {port}\ntrapport = {port}\n\nhostgroup web {' '.join(HOSTS)}\n\nwatch web\n{services}\n"
    )
    command: list[str | Path] = [
        *(program("perl"), unpacked("sbin/mon"), "-c", folder / "mon.cf", "-b", folder, "-A", folder / "auth.cf"),
        *("-a", folder / "alert.d", "-s", script.parent, "-D", folder / "state"),
    ]
    environment = {
        "PERL5LIB": monitor_environment()["PERL5LIB"],
        "PATH": "/usr/bin:/bin",
        "HOME": "/",
        "LANG": "C.UTF-8",
    }
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL) as mon:
        try:
            end = time.monotonic() + PATIENCE_S
            while any(len(recorded(path)) < RUNS for path in records.values()):
                assert mon.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
        finally:
            mon.terminate()
    return {name: recorded(path)[:RUNS] for name, path in records.items()}


def run_by_us(script: Path, folder: Path) -> dict[str, list[Record]]:
    """Run the monitor as often, with the same names, for the same group."""
    found = {}
    with unit_for_programs(folder) as helper:
        for name, (words, _) in SERVICES.items():
            record = folder / f"own-{name}"
            ending = {"plain": [], "bare": [";;"], "glued": []}[name]
            ours = [*words[:-1], f"{words[-1]};;"] if name == "glued" else words
            own = {"RECORD": str(record), "MON_DESCRIPTION": f"The {name} one", "MON_CFBASEDIR": str(folder)}
            checks = monitors(
                helper,
                [str(script), *ours, *ending],
                *(f"{host}:80" for host in HOSTS),
                per="group",
                name=name,
                environment=own,
            )
            (run,), _ = Groups().replaced([Probe(check, target(check), 1.0, _Nobody()) for check in checks], ())
            for _ in range(RUNS):
                asyncio.run(run_targets({run.key: run.target}))
            found[name] = recorded(record)
    return found


class _Nobody:
    def outcome(self, outcome: object, course: object) -> None:
        pass


def without_times(environment: dict[str, str]) -> dict[str, str]:
    """Return the variables, with only whether a time is set."""
    return {name: "a time" if TIMES.fullmatch(name) and value != "0" else value for name, value in environment.items()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, Record, Record]]:
    """Return each run of each service: the name, which run it is, mon's and ours."""
    folder = tmp_path_factory.mktemp("beside")
    (folder / "mon.d").mkdir()
    script = folder / "mon.d" / "recorder.monitor"
    script.write_text(RECORDER)
    script.chmod(0o755)
    for part in ("mon", "own"):
        (folder / part).mkdir()
    theirs, ours = run_by_mon(script, folder / "mon"), run_by_us(script, folder / "own")
    return [(name, run, theirs[name][run], ours[name][run]) for name in SERVICES for run in range(RUNS)]


Runs = list[tuple[str, int, Record, Record]]


def test_arguments_and_input_are_the_same(runs: Runs) -> None:
    for name, _, theirs, ours in runs:
        assert ours["argv"] == theirs["argv"]
        assert ours["argv"][1:] == SERVICES[name][0] + (list(HOSTS) if name == "plain" else [])
        assert (ours["input"], theirs["input"]) == ("", "")
        assert ours["same_output"]
        assert theirs["same_output"]


FOLDERS = {"MON_STATEDIR", "MON_LOGDIR"}


def test_variables_are_the_same_except_for_the_documented_ones(runs: Runs) -> None:
    for name, run, theirs, ours in runs:
        told = [without_times(each["environment"]) for each in (theirs, ours)]
        if run == KILLED:
            continue
        for environment in told:
            for own in ("RECORD", "MON_CFBASEDIR"):
                environment.pop(own)
        their, our = told
        assert their.keys() - our.keys() == {"PERL5LIB"}, (name, run)  # whoever started mon has set it
        assert our.keys() <= their.keys(), (name, run)
        differing = {key for key in our.keys() & their.keys() if our[key] != their[key]}
        assert differing == {"PATH"} | FOLDERS, (name, run)
        assert our["MON_DESCRIPTION"] == f"The {name} one"
    last = runs[2][2]["environment"]
    assert last["MON_LAST_OUTPUT"] == "192.0.2.2\nwhy\nan error\n"  # so this is about something


def test_times_are_those_of_the_ends_of_runs(runs: Runs) -> None:
    for name, run, _, ours in runs:
        if name == "plain" and run == 3:
            first, last = (int(ours["environment"][f"MON_{which}_FAILURE"]) for which in ("FIRST", "LAST"))
            assert time.time() - 2 * PATIENCE_S < first <= last <= time.time()


def test_monitor_that_is_killed_is_a_success_for_mon_and_a_failure_for_us(runs: Runs) -> None:
    for _, run, theirs, ours in runs:
        if run == KILLED:
            assert theirs["environment"]["MON_LAST_FAILURE"] == "0"
            assert ours["environment"]["MON_LAST_FAILURE"] != "0"
            assert ours["environment"]["MON_LAST_SUMMARY"] == "(NO SUMMARY)"


def test_folder_is_the_root_for_us_and_mon_s_own_for_mon(runs: Runs) -> None:
    assert {ours["folder"] for _, _, _, ours in runs} == {"/"}
    assert "/" not in {theirs["folder"] for _, _, theirs, _ in runs}
