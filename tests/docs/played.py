"""Plays a page of the documentation: types its commands at a running daemon, and compares the answers with the page.

A page is played in a network namespace that stands for the director. It has the addresses of three web servers too. The
table is in memory. Blocks of `console` are typed. `rs2# systemctl stop nginx` stops the second server, and a block of
TOML that begins with the configuration's name is added to it. Comments of the page tell what else happens:
`<!-- played: stop 198.51.100.13 -->`.
"""

import asyncio
import contextlib
import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import msgspec

from lab.netns import Namespace
from lvs_healthd import cli
from lvs_healthd.cli.manual.command_line import verbs
from tests.daemon_process import DaemonProcess, daemon
from tests.docs.pages import REPOSITORY
from tests.namespaces import namespace

FILE = "/etc/lvs-healthd/config.toml"
"""What the pages call the configuration."""

SERVERS = ("198.51.100.11", "198.51.100.12", "198.51.100.13")

COLUMNS = 1000
"""So wide that no line is broken, however long the names of this machine's folders are."""

SOON_S = 2.5

TAKE_CONFIG = {verb.name for verb in verbs() if any("--config" in option.names for option in verb.options)}

ACTIONS = {"reload", "drain", "enable", "disable", "weight", "hold", "release", "sed"}
"""What is typed once. All else may be asked again and again until the answer comes."""

ELSEWHERE = """
import json, pathlib
import msgspec
from lvs_healthd.ipvs import in_memory
from lvs_healthd.ipvs.kernel.statistics import NOTHING, ServiceStatistics, Statistics, encoded

folder = pathlib.Path({folder!r})
read = in_memory.MemoryTable.read

async def meddled_with(self):
    rival = folder / "rival"
    if rival.exists():
        for entry in self.entries.values():
            for key, record in entry.destinations.items():
                if key.address == rival.read_text():
                    entry.destinations[key] = msgspec.structs.replace(record, weight=7)
    return await read(self)

def statistics(self, key):
    if key not in self.entries:
        return None
    counts = json.loads((folder / "connections").read_text())
    servers = tuple(self.entries[key].destinations)
    none = {{each: 0 for each in Statistics.__struct_fields__}}
    rows = [NOTHING]
    for server in servers:
        active, inactive = counts.get(server.address, (0, 0))
        rows.append(encoded(Statistics(**none | {{"active_connections": active, "inactive_connections": inactive}})))
    return ServiceStatistics(servers, b"".join(rows))

in_memory.MemoryTable.read = meddled_with
in_memory.MemoryTable.statistics = statistics
"""
"""What the daemon's process runs first, so that somebody else can change its table, and connections are counted."""


class Step(msgspec.Struct, frozen=True):
    """A command with the answer that the page shows, a happening, or text for the configuration."""

    line: int
    host: str = ""
    command: str = ""
    shown: tuple[str, ...] = ()
    happening: str = ""
    text: str = ""


_ERASED = re.compile(r"[^\n]*\n\r?\x1b\[1A\x1b\[2K")
"""A line that is erased, as those that tell of progress."""
_CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
"""What moves a terminal's cursor, or makes letters bold."""

_STEP = re.compile(r"^<!-- played: (.*?) -->$|^```(console|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"(rs\d)?# (.*)")


def steps(page: str) -> Iterator[Step]:
    """Yield the steps of a page, in its order."""
    for found in _STEP.finditer(page):
        line = page.count("\n", 0, found.start()) + 1
        if found[1]:
            yield Step(line, happening=found[1])
        elif found[2] == "console":
            yield from _typed(line + 1, found[3].splitlines())
        elif found[3].startswith(f"# {FILE}\n"):
            yield Step(line, text=found[3].partition("\n")[2])


def _typed(line: int, lines: list[str]) -> Iterator[Step]:
    starts = [number for number, text in enumerate(lines) if _PROMPT.fullmatch(text)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        prompt = _PROMPT.fullmatch(lines[start])
        assert prompt is not None
        yield Step(line + start, host=prompt[1] or "", command=prompt[2], shown=tuple(lines[start + 1 : end]))


_CHANGING = (
    (r"\d{4}-\d\d-\d\dT", ""),
    (r"\d{4}-\d\d-\d\d ", ""),
    (r"\d\d:\d\d:\d\d(\.\d+Z?)?", "TIME"),
    (r"(?<![\w.])\d+(\.\d+)? ?(ms|s|m|h|d)\b", "DURATION"),
    (r"\b(\w+_s\"?):[\d.]+", r"\1:DURATION"),
    (r"\bpid \d+", "pid N"),
    (r" \d+ (or more )?times:", ":"),
    (r"TIME to TIME", "TIME"),
    (r"^\[[#.]{30}\] \d+ active, \d+ inactive connections left, DURATION$", "PROGRESS"),
    (r"\bby (uid|user) \d+", r"by \1 N"),
    (r"\(?\d of 3 failures.*", ""),
    (r"\s+", " "),
)


def unchanging(line: str) -> str:
    """Return a line without what is different in each run: times, durations, counts of probes, widths of columns."""
    for pattern, instead in _CHANGING:
        line = re.sub(pattern, instead, line)
    return line.strip()


def is_as_shown(shown: tuple[str, ...], answer: list[str]) -> bool:
    """Return whether an answer is what the page shows. A line `…` of the page stands for any lines."""
    pattern = "\n".join(r"[^\0]*" if line == "…" else re.escape(unchanging(line)) for line in shown)
    return re.fullmatch(pattern.replace("[^\\0]*\n", "(?:[^\\0]*\n)?"), "\n".join(map(unchanging, answer))) is not None


class Stage:
    """The director on which a page is played.

    folder: where the daemon keeps its files.
    """

    def __init__(self, at: Namespace, folder: Path) -> None:
        self._at = at
        self.folder = folder
        self.file = folder / "config.toml"
        self.running: DaemonProcess | None = None
        self._before = ""
        self._listening: dict[str, asyncio.Server] = {}

    async def happen(self, what: str) -> None:
        """Let something happen that nobody types."""
        verb, *words = what.split()
        match verb:
            case "stop":
                await self._stop(words[0])
            case "drain":
                await self.type('lvs-healthd drain web 198.51.100.12 --reason "kernel update" --for 2h')
            case "remove":
                self._before = self.file.read_text()
                self.file.write_text(self._before.replace(f', "{words[0]}"', ""))
            case "restore":
                self.file.write_text(self._before)
            case "fight":
                (self.folder / "rival").write_text(words[0])
            case "peace":
                (self.folder / "rival").unlink()
            case "connections":
                self.connections({words[0]: (int(words[1]), int(words[2]))})
            case "soon":  # without connections
                asyncio.get_running_loop().call_later(SOON_S, self.connections, {})
            case _:
                raise AssertionError(f"nothing is called {what!r}")

    def connections(self, counts: dict[str, tuple[int, int]]) -> None:
        """Say how many active and inactive connections the kernel counts for each server."""
        (self.folder / "connections.new").write_text(json.dumps(counts))
        (self.folder / "connections.new").rename(self.folder / "connections")

    async def type(self, command: str, host: str = "") -> list[str]:
        """Type a command, and return the lines of its answer."""
        words = shlex.split(command.replace(FILE, str(self.file)))
        if host:
            address = SERVERS[int(host.removeprefix("rs")) - 1]
            await {"start": self.start, "stop": self._stop}[words[1]](address)
            return []
        match words[0]:
            case "lvs-healthd":
                words += ["--config", str(self.file)] if words[1] in TAKE_CONFIG else []
                text = await asyncio.to_thread(self._on_terminal, words)
            case "journalctl":
                text = self._journal(words[1:])
            case "sed" | "curl":
                shell = ["bash", "-c", command.replace(FILE, str(self.file))]
                text = (await asyncio.to_thread(self._at.run, shell)).stdout
            case _:
                raise AssertionError(f"{command}: nobody knows how to play this")
        text = _CONTROL.sub("", _ERASED.sub("", text.replace("\x1b[?25l", "").replace("\x1b[?25h", ""))).replace(
            str(self.file), FILE
        )
        return [line.rpartition("\r")[2].rstrip() for line in text.removesuffix("\n").split("\n")] if text else []

    def _journal(self, words: list[str]) -> str:
        """Answer as journalctl would, from what the daemon has written."""
        assert self.running is not None
        fields = {"LVS_EVENT": "event", "LVS_SERVICE": "service", "LVS_SERVER": "server"}
        wanted: dict[str, list[str]] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if equals:
                wanted.setdefault(fields[name], []).append(value)
        found = [line for line in self.running.lines if all(line.get(key) in wanted[key] for key in wanted)]
        count = int(words[words.index("-n") + 1]) if "-n" in words else len(found)
        lines = [msgspec.json.encode(line).decode() for line in found[-count:]]
        return "".join(f"{line}\n" for line in lines)

    def _on_terminal(self, words: list[str]) -> str:
        """Run a verb in this process, on a pseudo-terminal, in the director's network."""
        leader, follower = pty.openpty()
        heard = io.BytesIO()

        def listen() -> None:
            with contextlib.suppress(OSError):  # EIO: the other end is closed
                while piece := os.read(leader, 65536):
                    heard.write(piece)

        listener = threading.Thread(target=listen)
        listener.start()
        before = sys.argv, sys.stdout, sys.stderr
        with os.fdopen(follower, "w", encoding="utf-8") as terminal:
            sys.argv, sys.stdout, sys.stderr = words, terminal, terminal
            try:
                with self._at.entered(), contextlib.suppress(SystemExit):
                    cli.main()
            finally:
                sys.argv, sys.stdout, sys.stderr = before
        listener.join()
        os.close(leader)
        return heard.getvalue().decode().replace("\r\n", "\n")

    def spawn(self, *command: str) -> "subprocess.Popen[str]":
        """Start a program in the director's network."""
        return self._at.popen(command)

    async def start(self, address: str) -> None:
        """Start the web server at an address."""
        with self._at.entered():
            self._listening[address] = await asyncio.start_server(_answer, address, 80)

    async def _stop(self, address: str) -> None:
        server = self._listening.pop(address)
        # Whom the kernel has let in already is answered, so that all later probes are refused, and none is reset.
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()

    async def close(self) -> None:
        for address in tuple(self._listening):
            await self._stop(address)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        request = await reader.readuntil(b"\r\n\r\n")
        status = b"200 OK" if request.startswith(b"GET /healthz ") else b"404 Not Found"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def stage(folder: Path, text: str) -> AsyncIterator[Stage]:
    """Set the stage: the servers listen, and a daemon runs with a configuration."""
    with namespace("director") as at:
        for address in SERVERS:
            at.run(["ip", "address", "add", f"{address}/32", "dev", "lo"])
        made = Stage(at, folder)
        made.connections({})
        keys = {"control": f"{folder}/control.sock", "state": f"{folder}/state.json", "resync": "1s"}
        made.file.write_text(with_keys(text, "daemon", keys))
        for address in SERVERS:
            await made.start(address)
        before = ELSEWHERE.format(folder=str(folder))
        try:
            async with daemon(made.file, "--table", "memory", command=at.prefix, before=before) as running:
                made.running = running
                await running.until("daemon.started")
                yield made
                assert await running.stop() == 0
        finally:
            await made.close()


def with_keys(text: str, table: str, keys: Mapping[str, str]) -> str:
    """Set keys of a table in a configuration, in the lines where its comments show them, if they do."""
    before, header, after = text.partition(f"[{table}]\n")
    for key, value in keys.items():
        line = f'{key} = "{value}"'
        after, count = re.subn(rf"^#{key} = .*$", line, after, count=1, flags=re.MULTILINE)
        after = after if count else f"{line}\n{after}"
    return f"{before}{header}{after}"


def installed() -> str:
    """Return the configuration that the package installs."""
    example = (REPOSITORY / "config.example.toml").read_text(encoding="utf-8")
    example = f"#:schema /usr/share/lvs-healthd/config.schema.json\n{example}"
    return example.replace('#mode = "enforce"', 'mode = "shadow"', 1)


def written_anew(page: str, answers: dict[int, list[str]]) -> str:
    """Return a page with other answers, by the lines of their commands. An answer with `…` stays as it is."""
    lines = page.splitlines()
    for step in sorted((step for step in steps(page) if step.line in answers), key=lambda step: -step.line):
        if "…" not in step.shown:
            lines[step.line : step.line + len(step.shown)] = answers[step.line]
    return "\n".join(lines) + "\n"
