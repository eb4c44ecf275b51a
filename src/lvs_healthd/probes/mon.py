"""mon's convention for programs that are checks: what a monitor is told, and what its output says.

A monitor is run with its arguments and then the addresses of the servers, with variables of its own. It ends with 0
when all is well, and otherwise names the servers that failed on the first line of its output, the summary. Sources:
`run_monitor`, `process_event` and `proc_cleanup` of mon 1.3.6, and running it.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from lvs_healthd.config.basics import Endpoint, canonical_address
from lvs_healthd.config.check_model import MonNames
from lvs_healthd.probes.outcome import MonitorRun

NO_HOST = ";;"
"""At the end of a command for mon: no address is appended."""

NO_SUMMARY = "(NO SUMMARY)"
"""What mon takes for the summary of a failure whose first line is empty."""

STATE_FOLDERS = ("MON_STATEDIR", "MON_LOGDIR")
"""The variables with the folder in which a monitor may keep files. Whoever runs it knows the folder."""

CONFIGURATION_FOLDER = "/etc/mon"
"""mon's own default for MON_CFBASEDIR."""

MOST_REMEMBERED = 4096
"""How many characters of a monitor's output the next run is told. Thousands of monitors may say as much."""

MOST_READ = 32768
"""How many characters of the summary, and of the rest, are searched for servers. 256 servers with reasons need less."""

_MOST_ODD = 512
"""How many words of a summary are tried as other spellings of an address, which takes 3 µs each."""

_PARENTHESES = re.compile(r"\([^()]*\)")
_WORD = re.compile(r"[^\s,;]+")


def arguments(command: Sequence[str], servers: Sequence[Endpoint]) -> tuple[str, ...]:
    """Return a monitor's words. The address of each server is appended once, unless the command ends in `;;`."""
    *before, last = command
    if last.endswith(NO_HOST):  # mon takes it for the end of the line, also right behind a word
        last = last.removesuffix(NO_HOST)
        return (*before, last) if last else tuple(before)
    return (*command, *dict.fromkeys(server.address for server in servers))


def summary_of(output: str) -> str:
    """Return the summary of a monitor that has failed: the first line of its output."""
    summary = output.partition("\n")[0]
    return summary if summary.strip() else NO_SUMMARY


class History:
    """What mon remembers of a monitor, and tells it at the next run.

    names: the names that the monitor gets.
    wall: Unix time, seconds.
    """

    def __init__(self, names: MonNames, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._variables = {
            "MON_GROUP": names.group,
            "MON_SERVICE": names.service,
            "MON_LAST_FAILURE": "0",
            "MON_LAST_SUCCESS": "0",
            "MON_CFBASEDIR": CONFIGURATION_FOLDER,
        }
        self._has_failed = False
        self.failed: MonitorRun | None = None
        """The last failed run; None if none has failed."""

    def variables(self) -> dict[str, str]:
        """Return the variables for the next run."""
        return dict(self._variables)

    def ended(self, output: str, failed: int) -> None:
        """Remember how a run has ended.

        failed: the exit status of a run that has failed; 0 if it has passed.
        """
        now = str(int(self._wall()))
        summary, is_more, _ = output.partition("\n")
        if failed:
            self.failed = self._failure(failed, output, now)
            self._variables["MON_LAST_FAILURE"] = now
            if not self._has_failed:
                self._variables["MON_FIRST_FAILURE"] = now
            summary = summary_of(output)
        else:
            self._variables |= {"MON_LAST_SUCCESS": now, "MON_FIRST_FAILURE": "0", "MON_LAST_FAILURE": "0"}
        self._has_failed = bool(failed)
        self._variables["MON_LAST_OUTPUT"] = _kept(output)
        if summary or is_more:
            self._variables["MON_LAST_SUMMARY"] = _kept(summary)
        else:  # mon has no summary of a success without output
            self._variables.pop("MON_LAST_SUMMARY", None)

    def _failure(self, status: int, output: str, now: str) -> MonitorRun:
        first = self.failed.first_failure if self._has_failed and self.failed is not None else int(now)
        return MonitorRun(
            status=status,
            output=_kept(output),
            before=self._variables.get("MON_LAST_OUTPUT"),
            first_failure=first,
            last_failure=int(now),
            last_success=int(self._variables["MON_LAST_SUCCESS"]),
        )


class Names:
    """Finds servers in what a monitor has printed.

    servers: those that the run was for.
    """

    def __init__(self, servers: Sequence[Endpoint]) -> None:
        self._by_word: dict[str, list[Endpoint]] = {}
        for server in servers:
            words = [server.address, str(server)]
            if ":" in server.address:
                words.append(f"[{server.address}]")
            for word in words:
                self._by_word.setdefault(word, []).append(server)

    def named(self, summary: str) -> dict[Endpoint, None]:
        """Return the servers that a summary names, in its order.

        A summary is a list of hosts, as they were given to the monitor. Some monitors add a port, why in parentheses,
        or what they asked for.
        """
        found: dict[Endpoint, None] = {}
        odd = 0
        for word in dict.fromkeys(_words(_PARENTHESES.sub(" ", summary[:MOST_READ]))):
            servers = self._by_word.get(word)
            if servers is None and odd < _MOST_ODD:
                odd += 1
                servers = self._by_word.get(_plain(word))
            found |= dict.fromkeys(servers or ())
        return found

    def lines(self, detail: str) -> dict[Endpoint, str]:
        """Return the first line about each server, of those lines that say more than who it is about.

        Here a server is named as the monitor was given it.
        """
        found: dict[Endpoint, str] = {}
        left = dict(self._by_word)  # hundreds of servers may have one address, and thousands of lines name it
        for line in map(str.strip, detail[:MOST_READ].split("\n")):
            if " " in line:
                for word in _words(line):
                    for server in left.pop(word, ()):
                        found.setdefault(server, line)
        return found


def _words(text: str) -> Iterator[str]:
    return (match[0].rstrip(":.") for match in _WORD.finditer(text))


def _plain(word: str) -> str:
    """Return the address in a word in its usual spelling; "" if there is none.

    What was asked for may stand before it (`example.org@192.0.2.1`), and a port that no server has behind it.
    """
    word = word.rpartition("@")[2]
    if word.startswith("[") or word.count(":") == 1:
        word = word.partition("]")[0].removeprefix("[") if word.startswith("[") else word.partition(":")[0]
    try:
        return canonical_address(word)
    except ValueError:
        return ""


def _kept(text: str) -> str:
    """Return as much as a variable of the environment can hold (no NUL byte), and as is worth it."""
    return text.partition("\0")[0][:MOST_REMEMBERED]
