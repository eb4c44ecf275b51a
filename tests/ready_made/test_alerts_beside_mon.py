"""The same alerts, called by Debian's mon and by the daemon's hooks, about the same monitor.

Arguments, input and variables are compared word for word, and so is what mon's own mail.alert and file.alert make of
them.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import daemon
from tests.ready_made.checks import PATIENCE_S
from tests.ready_made.monitors import monitor_environment
from tests.ready_made.servers import in_place, program, unpacked

HOSTS = ("192.0.2.1", "192.0.2.2")

MONITOR = f"""#!{sys.executable} -IS
import os, sys
path = os.environ["RUNS"]
runs = len(open(path).read()) if os.path.exists(path) else 0
open(path, "a").write("x")
if runs == 0:
    print("all well")
elif runs == 1:
    print("192.0.2.2 192.0.2.1\\nwhy: \u00e4\\n", end="", flush=True)
    print("an error", file=sys.stderr)
    sys.exit(3)
elif runs == 3:
    print("   \\nno summary")
    sys.exit(200)
"""
"""Passes, fails with a summary, passes without output, fails without a summary, and passes from then on."""

RECORDER = f"""#!{sys.executable} -IS
import json, os, sys
seen = {{"argv": sys.argv, "environment": dict(os.environ), "input": sys.stdin.read()}}
with open(os.environ["RECORD"], "a") as record:
    record.write(json.dumps(seen) + "\\n")
"""

SENDMAIL = f"""#!{sys.executable} -IS
import json, os, sys
with open(os.environ["MAILS"], "a") as mails:
    mails.write(json.dumps([sys.argv, sys.stdin.read()]) + "\\n")
"""

ALERTS = {
    "recorder.alert": ["-x", "two words", "it's"],
    "ranged.alert": [],
    "mail.alert": ["-f", "mon@example.org", "oncall@example.org"],
    "file.alert": ["-d", "{folder}", "alerts"],
}
"""The programs, each with its own arguments."""

RANGE = (2, 100)
"""The exit statuses of which ranged.alert is told."""

TIMES = re.compile(r"MON_(LAST|FIRST)_(FAILURE|SUCCESS)")

Record = dict[str, Any]


def recorded(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def words_of(name: str, folder: Path) -> list[str]:
    return [word.replace("{folder}", str(folder)) for word in ALERTS[name]]


def prepared(folder: Path) -> dict[str, str]:
    """Put the monitor, the alerts and a program that takes mail into a folder. Return the variables that all get."""
    (folder / "root" / "usr" / "lib").mkdir(parents=True)
    for made in ("mon.d", "alert.d", "state", "log"):
        (folder / made).mkdir()
    own = {"mon.d/steps.monitor": MONITOR, "root/usr/lib/sendmail": SENDMAIL}
    own |= {f"alert.d/{name}": RECORDER for name in ("recorder.alert", "ranged.alert")}
    for path, text in own.items():
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    for name in ("mail.alert", "file.alert"):  # unchanged
        (folder / "alert.d" / name).symlink_to(unpacked(f"lib/mon/alert.d/{name}"))
    return {
        "RECORD": str(folder / "record"),
        "RUNS": str(folder / "runs"),
        "MAILS": str(folder / "mails"),
        "PERL5LIB": monitor_environment()["PERL5LIB"],
        "TZ": "UTC",
    }


def quoted(word: str) -> str:
    return '"' + word.replace('"', '\\"') + '"'


def is_over(folder: Path) -> bool:
    """Return whether every alert was called: twice for each of two failures, ranged.alert for one."""
    recorder, ranged = calls(folder, "recorder.alert"), calls(folder, "ranged.alert")
    texts = folder / "alerts"
    lines = texts.read_text().splitlines().count(".") if texts.exists() else 0
    return (len(recorder), len(ranged), len(recorded(folder / "mails")), lines) == (4, 2, 4, 4)


def calls(folder: Path, name: str) -> list[Record]:
    return [each for each in recorded(folder / "record") if Path(each["argv"][0]).name == name]


def run_by_mon(folder: Path, variables: Mapping[str, str]) -> None:
    for empty in ("users", "auth.cf"):
        (folder / empty).touch()
    periods = "".join(
        f"        period {name.partition('.')[0]}: wd {{Sun-Sat}}\n            numalerts 1\n"
        f"            alert {f'exit={RANGE[0]}-{RANGE[1]} ' if name == 'ranged.alert' else ''}{words}\n"
        f"            upalert {words}\n"
        for name in ALERTS
        for words in (" ".join((name, *map(quoted, words_of(name, folder)))),)
    )
    own = "".join(f"        {name}={value}\n" for name, value in variables.items())
    (folder / "mon.cf").write_text(
        f"cfbasedir = {folder}\nalertdir = {folder}/alert.d\nmondir = {folder}/mon.d\nstatedir = {folder}/state\n"
        f"logdir = {folder}/log\npidfile = {folder}/pid\nauthtype = userfile\nuserfile = {folder}/users\n"
        f"serverport = 0\ntrapport = 0\n\nhostgroup web {' '.join(HOSTS)}\n\nwatch web\n    service http\n"
        f"        description The one\n{own}        interval 1s\n        monitor steps.monitor\n"
        f"{periods}\n"
    )
    command: list[str | Path] = [
        *(program("perl"), unpacked("sbin/mon"), "-c", folder / "mon.cf", "-b", folder, "-A", folder / "auth.cf"),
        *("-a", folder / "alert.d", "-s", folder / "mon.d", "-D", folder / "state", "-L", folder / "log"),
    ]
    environment = {"PERL5LIB": variables["PERL5LIB"], "PATH": "/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
    with subprocess.Popen(
        in_place(*command, directory=folder, users={}), cwd=folder, env=environment, stdin=subprocess.DEVNULL
    ) as mon:
        try:
            end = time.monotonic() + PATIENCE_S
            while not is_over(folder):
                assert mon.poll() is None
                assert time.monotonic() < end, (recorded(folder / "record"), recorded(folder / "mails"))
                time.sleep(0.1)
        finally:
            mon.terminate()


async def run_by_us(folder: Path, variables: Mapping[str, str]) -> None:
    own = ", ".join(f"{name} = {json.dumps(value)}" for name, value in variables.items())
    told = f'{own}, MON_DESCRIPTION = "The one", MON_CFBASEDIR = "{folder}"'
    hooks = "".join(
        f"""
[[hook]]
convention = "mon"
per = "group"
command = {json.dumps([f"{folder}/alert.d/{name}", *words_of(name, folder)])}
environment = {{ {told} }}
{f'exit_status = ["{RANGE[0]}-{RANGE[1]}"]' if name == "ranged.alert" else ""}
"""
        for name in ALERTS
    )
    file = folder / "config.toml"
    check = (
        f'type = "exec", name = "http", command = ["{folder}/mon.d/steps.monitor"], convention = "mon", per = "group"'
    )
    file.write_text(
        f"""
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
[[service]]
name = "web"
address = "127.0.0.100:80"
check = {{ {check}, interval = "2s", timeout = "2s", rise = 1, fall = 1, environment = {{ {told} }} }}
real_server = {json.dumps(list(HOSTS))}
{hooks}"""
    )
    prefix = in_place("env", directory=folder, users={})
    async with daemon(file, "--table", "memory", command=tuple(map(str, prefix))) as running:
        async with asyncio.timeout(PATIENCE_S):
            while not is_over(folder):
                await asyncio.sleep(0.1)
        assert running.of("hook.error") == []


Both = tuple[Path, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Let mon and the daemon call the alerts. Return the folders with what these have recorded."""
    theirs, ours = (tmp_path_factory.mktemp(name) for name in ("theirs", "ours"))
    run_by_mon(theirs, prepared(theirs))
    asyncio.run(run_by_us(ours, prepared(ours)))
    return theirs, ours


def ordered(folder: Path, name: str) -> list[Record]:
    """Return the calls of an alert in their order. mon calls two alerts in quick succession in either order."""
    return sorted(calls(folder, name), key=lambda each: int(each["argv"][8]))


def without_times(argv: list[str]) -> list[str]:
    assert 0 <= time.time() - int(argv[8]) < 3 * PATIENCE_S
    return [Path(argv[0]).name, *argv[1:8], "a time", *argv[9:]]


@pytest.mark.parametrize("name", ["recorder.alert", "ranged.alert"])
def test_arguments_are_the_same(folders: Both, name: str) -> None:
    theirs, ours = ([without_times(each["argv"]) for each in ordered(folder, name)] for folder in folders)
    assert ours == theirs
    first, second = ours[:2]
    own = words_of(name, folders[0])
    assert first == [name, "-s", "http", "-g", "web", "-h", "192.0.2.1 192.0.2.2", "-t", "a time", *own]
    assert second == [*first[:9], "-u", *own]


@pytest.mark.parametrize("name", ["recorder.alert", "ranged.alert"])
def test_input_is_the_same(folders: Both, name: str) -> None:
    theirs, ours = ([each["input"] for each in ordered(folder, name)] for folder in folders)
    assert ours == theirs
    assert ours[:2] == ["192.0.2.2 192.0.2.1\nwhy: \u00e4\nan error\n"] * 2


@pytest.mark.parametrize("name", ["recorder.alert", "ranged.alert"])
def test_variables_are_the_same_except_for_the_documented_ones(folders: Both, name: str) -> None:
    both = zip(*(ordered(folder, name) for folder in folders), strict=True)
    for number, (theirs, ours) in enumerate(both):
        their, our = (
            {
                key: "a time" if TIMES.fullmatch(key) and value not in ("", "0") else value
                for key, value in each["environment"].items()
                if key not in {"RECORD", "RUNS", "MAILS", "MON_CFBASEDIR", "MON_STATEDIR", "MON_LOGDIR"}
            }
            for each in (theirs, ours)
        )
        more = our.keys() - their.keys()
        assert more == {"LVS_VIP", "LVS_VPORT", "LVS_PROTO", "LVS_RIP", "LVS_RPORT", "LVS_FWD", "LVS_WEIGHT"}
        assert {"MON_STATEDIR", "MON_LOGDIR", "MON_CFBASEDIR"} <= ours["environment"].keys()
        differing = {key for key in their if our.get(key) != their[key]}
        assert differing <= {"PATH", "PWD", "SHLVL", "_", "OLDPWD"}, (number, differing, their, our)
        assert our["MON_DESCRIPTION"] == "The one"


def test_mail_alert_runs_unchanged_and_writes_the_same_mail(folders: Both) -> None:
    theirs, ours = (
        sorted([argv, re.sub(r"\w{3}\s+\d+ \d\d:\d\d:\d\d( \d{4})?|X-Mailer: .*", "", text)] for argv, text in mails)
        for mails in (recorded(folder / "mails") for folder in folders)
    )
    assert ours == theirs
    assert any("Subject: UPALERT web/http: 192.0.2.2 192.0.2.1 (" in text for _, text in ours)


def test_file_alert_runs_unchanged_and_writes_the_same_lines(folders: Both) -> None:
    theirs, ours = (
        re.sub(r"\b\d{10}\b|\w{3} \w{3}\s+\d+ \d\d:\d\d:\d\d", "a time", (folder / "alerts").read_text())
        for folder in folders
    )
    assert ours == theirs
    assert "failure web http a time (a time) 192.0.2.2 192.0.2.1\nDESCR=The one\nOPSTATUS=0\nwhy" in ours
