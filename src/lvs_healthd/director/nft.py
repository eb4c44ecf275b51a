"""Runs the program nft through its JSON interface. A run takes about ten milliseconds, so it belongs in a thread."""

import os
import shutil
import subprocess

import msgspec

from lvs_healthd.director.aspect import SettingError
from lvs_healthd.runtime.netns import Netns, NetnsError

DEADLINE_S = 30.0
"""How long one run may take, seconds. A run usually takes about ten milliseconds, but the first run may have to load
modules, and a director under attack is slow."""
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
"""Where to search for nft. The daemon's own PATH may lack the sbin folders, in which nft is installed."""
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C"}
_SHOWN = 300
"""How many characters of nft's error message are shown."""


def is_there() -> bool:
    """Return whether nft is installed."""
    return shutil.which("nft", path=_PATH) is not None


def nft(netns: Netns, *words: str, stdin: bytes = b"") -> bytes | None:
    """Run `nft -j` in a network namespace and return its output. This blocks.

    netns: the network namespace.
    words: the arguments after `-j`.
    stdin: what nft reads from its standard input.

    Returns None when the command lists a table or chain that does not exist. Raises `SettingError`.
    """
    program = shutil.which("nft", path=_PATH)
    if program is None:
        raise SettingError("nft: not found; fullnat and synproxy need it: apt install nftables")
    try:
        with netns.entered():
            process = subprocess.Popen(  # noqa: S603  # the arguments are ours
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
    """Decode the output of `nft -j list` into a list of objects. Raises `SettingError`."""
    try:
        return msgspec.json.decode(output, type=_Listing).nftables
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"nft: its JSON cannot be read: {error}") from error


class _Listing(msgspec.Struct):
    nftables: list[dict[str, object]]


def _in_short(text: str) -> str:
    if "Operation not permitted" in text:
        return "not permitted: needs CAP_NET_ADMIN: run as root or give the unit AmbientCapabilities=CAP_NET_ADMIN"
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
