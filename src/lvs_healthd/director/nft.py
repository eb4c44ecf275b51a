"""Runs nft, the program, by its JSON interface. In a thread: it takes some ten milliseconds."""

import os
import shutil
import subprocess

import msgspec

from lvs_healthd.director.aspect import SettingError
from lvs_healthd.runtime.netns import Netns, NetnsError

DEADLINE_S = 30.0
"""For one run, on a thread of its own. It takes some ten milliseconds; the first may have to load modules, and a
director under attack is slow."""
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
"""nft is no program for users, so it may not be on the daemon's path."""
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C"}
_SHOWN = 300


def is_there() -> bool:
    """Tell whether this machine has nft."""
    return shutil.which("nft", path=_PATH) is not None


def nft(netns: Netns, *words: str, stdin: bytes = b"") -> bytes | None:
    """Run `nft -j` and return its output; None where the table or chain that it should list is not there.

    Raises `SettingError`.
    """
    program = shutil.which("nft", path=_PATH)
    if program is None:
        raise SettingError("nft: not found; fullnat and synproxy need it: apt install nftables")
    try:
        with netns.entered():
            process = subprocess.Popen(  # noqa: S603  # fixed words
                [program, "-j", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
            )
    except NetnsError as error:
        raise SettingError(str(error)) from error
    except OSError as error:
        raise SettingError(f"{program}: {error.strerror}") from error
    with process:
        try:
            out, err = process.communicate(stdin, DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SettingError(f"nft {' '.join(words)}: no answer within {DEADLINE_S:g}s") from None
    if process.returncode == 0:
        return out
    words_of_it = err.decode(errors="replace").strip()
    if words[0] == "list" and os.strerror(2) in words_of_it:
        return None
    raise SettingError(f"nft: {_in_short(words_of_it)}")


def decode(output: bytes) -> list[dict[str, object]]:
    """Take apart what `nft -j list` wrote. Raises `SettingError`."""
    try:
        return msgspec.json.decode(output, type=_Listing).nftables
    except msgspec.DecodeError as error:
        raise SettingError(f"nft: its JSON cannot be read: {error}") from error


class _Listing(msgspec.Struct):
    nftables: list[dict[str, object]]


def _in_short(text: str) -> str:
    if "Operation not permitted" in text:
        return "not permitted: needs CAP_NET_ADMIN: run as root or give the unit AmbientCapabilities=CAP_NET_ADMIN"
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
