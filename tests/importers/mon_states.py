"""States of servers, with what mon's own monitors find in them.

`python -m tests.importers.mon_states /usr/lib/mon/mon.d [FOLDER]` asks the monitors again, and prints where they find
something else. FOLDER is one for Perl's -I: smtp.monitor and pop3.monitor need the Sys/Hostname.pm of docs/checks.md.
"""

import asyncio
import subprocess
import sys
from typing import NamedTuple

from tests.probes.peers import Behaviour, stream_server

TIMEOUT_S = 1
"""How long the monitors wait, seconds."""

HANG = ""
"""Stands for an answer that never comes."""


class State(NamedTuple):
    """How a server answers."""

    monitor: str
    answers: tuple[str, ...]
    """What it says: a server of HTTP after each request, another one at once and then after each line."""
    passes: bool
    """What mon's monitor finds."""


def _page(status: str) -> str:
    return f"HTTP/1.0 {status}\r\nContent-Type: text/plain\r\n\r\nhello"


HTTP = [
    *(State("http.monitor", (_page(each),), passes=True) for each in ("200 OK", "301 Moved", "302 Found", "401 Who")),
    *(
        State("http.monitor", (_page(each),), passes=False)
        for each in ("303 See", "204 No", "404 No", "500 Oh", "2000 OK")
    ),
    State("http.monitor", (HANG,), passes=False),
    State("http.monitor", ("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nx", HANG), passes=True),
    State("http.monitor", (), passes=False),
    State("http.monitor", ("NONSENSE 200 OK\r\n\r\n",), passes=False),
    State("http.monitor", ("HTTP/1.0 200 OK\nA: b\n\nhello",), passes=True),
    State("http.monitor", ("HTTP/1.1 200\r\n\r\n",), passes=True),
    State("http.monitor", ("<html>hello</html>",), passes=False),
]
SMTP = [
    State("smtp.monitor", ("220 hi", "250 ok", "221 bye"), passes=True),
    State("smtp.monitor", ("220-a\r\n220 hi", "250-x\r\n250 ok", "221 bye"), passes=True),
    State("smtp.monitor", ("554 no", "250 ok", "221 bye"), passes=False),
    State("smtp.monitor", ("220 hi", "550 no", "221 bye"), passes=False),
    State("smtp.monitor", ("220 hi", "250 ok", "250 what"), passes=False),
    State("smtp.monitor", ("220 hi", HANG), passes=False),
    State("smtp.monitor", ("220-hi", "250 ok", "221 bye"), passes=False),
    State("smtp.monitor", ("+OK",), passes=False),
    State("smtp.monitor", ("220 hi",), passes=False),
]
POP3 = [
    State("pop3.monitor", ("+OK hi", "+OK bye"), passes=True),
    State("pop3.monitor", ("+OK", "+OK"), passes=True),
    State("pop3.monitor", ("+OKAY", "+OK"), passes=True),
    State("pop3.monitor", ("-ERR no", "+OK"), passes=False),
    State("pop3.monitor", ("+OK hi", "-ERR no"), passes=False),
    State("pop3.monitor", ("220 hi", "+OK"), passes=False),
    State("pop3.monitor", ("+OK hi", HANG), passes=False),
]
TCP = [State("tcp.monitor", (HANG,), passes=True), State("tcp.monitor", (), passes=True)]
STATES = [*HTTP, *SMTP, *POP3, *TCP]


def behaviour(state: State) -> Behaviour:
    """Return a server that answers so."""
    is_http = state.monitor == "http.monitor"

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_http:
            await reader.readuntil(b"\r\n\r\n")
        for number, answer in enumerate(state.answers):
            if number and not is_http:
                await reader.readline()
            if answer == HANG:
                await reader.read()
                await asyncio.sleep(60)
            writer.write(answer.encode() + (b"" if is_http else b"\r\n"))
            await writer.drain()
        if not is_http and state.answers:
            await reader.readline()

    return behave


async def _passes(state: State, folder: str, include: list[str]) -> bool:
    async with stream_server(behaviour(state)) as port:
        words = ["perl", *include, f"{folder}/{state.monitor}", "-p", str(port), "-t", str(TIMEOUT_S), "127.0.0.1"]
        process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return await process.wait() == 0


async def _main(folder: str, *more: str) -> None:
    for state in STATES:
        found = await _passes(state, folder, [word for each in more for word in ("-I", each)])
        sys.stdout.write(f"{'as written' if found is state.passes else 'DIFFERENT'} {state}\n")


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
