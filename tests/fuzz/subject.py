"""What is fuzzed: a protocol, with the inputs to begin with."""

import random
import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import trustme

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.probes.targets import target
from tests.fuzz.control import Control, split, with_control
from tests.fuzz.conversation import ENDINGS, Peer, Stopwatch, play
from tests.fuzz.peers import Fit, PlainPeer, TlsPeer, as_it_is

Run = Callable[[bytes, Control, Stopwatch], object]
"""Runs one input, and raises what is wrong."""


class Subject(NamedTuple):
    """One thing that reads what others send."""

    name: str
    files: tuple[str, ...]
    """The files under src/lvs_healthd that this is about."""
    run: Run
    seeds: tuple[bytes, ...]
    """Inputs to begin with."""
    words: tuple[bytes, ...] = ()
    """What such inputs are made of."""
    heavy: tuple[bytes, ...] = ()
    """Inputs that take long to read."""

    def feed(self, data: bytes, watch: Stopwatch) -> None:
        """Run one input. Raises what is wrong."""
        random.seed(0)  # what a conversation chooses by chance must be the same the next time
        self.run(*split(data), watch)


def seeded(answers: Iterable[bytes], variants: int = 1, **control: int) -> tuple[bytes, ...]:
    """Return inputs from whole answers: each for every variant, in one piece, and cut, with changing endings."""
    found = []
    for number, answer in enumerate(answers):
        for variant in range(variants):
            found.append(with_control(answer, variant=variant, ending=number % ENDINGS, **control))
            found.append(with_control(answer, variant=variant, ending=variant % ENDINGS, size=1 + number, **control))
    return tuple(found)


def conversations(checks: Sequence[AnyCheck], fit: Fit = as_it_is, *, may_close: bool = True) -> Run:
    """Return what plays inputs to conversations of these checks, which are the variants, without TLS."""
    begins = [target(check).begin for check in checks]

    def run(answer: bytes, control: Control, watch: Stopwatch) -> object:
        begin = begins[control.variant % len(begins)]

        def peer() -> Peer:
            return PlainPeer(answer, control, fit)

        return play(begin(), peer, control.ending % ENDINGS, watch, may_close=may_close)

    return run


class Secured(NamedTuple):
    """A check whose conversation begins TLS."""

    check: AnyCheck
    fit: Fit = as_it_is
    alpn: str = ""
    """The protocol that the server selects."""
    words: tuple[bytes, ...] = ()
    """What the server says before TLS."""


class Authority:
    """Who has issued the servers' certificates. Made on first use."""

    def __init__(self) -> None:
        self._made: trustme.CA | None = None

    def _authority(self) -> trustme.CA:
        self._made = self._made or trustme.CA()
        return self._made

    def write(self, path: Path) -> str:
        """Write the authority's own certificate, for checks that trust it. Return the path."""
        self._authority().cert_pem.write_to_path(path)
        return str(path)

    def context(self, alpn: str) -> ssl.SSLContext:
        """Return what a server needs."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority().issue_cert("web.example").configure_cert(made)
        if alpn:
            made.set_alpn_protocols([alpn])
        return made


def secured(variants: Sequence[Secured], authority: Authority) -> Run:
    """Return what plays inputs to conversations that use TLS, through a real server of TLS in memory."""
    ready = [(each, target(each.check).begin, authority.context(each.alpn)) for each in variants]

    def run(answer: bytes, control: Control, watch: Stopwatch) -> object:
        chosen, begin, context = ready[control.variant % len(ready)]

        def peer() -> Peer:
            return TlsPeer(context, answer, control, chosen.fit, chosen.words)

        return play(begin(), peer, control.ending % ENDINGS, watch, may_close=True)

    return run
