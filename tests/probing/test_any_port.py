"""udp checks whose server answers from another port, as that of TFTP does."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import ConversationStep, UdpCheck
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.once import run_once
from tests.pacing import EXTENDED
from tests.probes.peers import free_port

Heard = list[tuple[str, bytes]]
"""What a server got: at which of its sockets, and the datagram."""


@contextlib.contextmanager
def server(serve: Callable[[socket.socket, Heard], None], address: str = "127.0.0.1") -> Iterator[tuple[int, Heard]]:
    """Run a server in a thread. Yield its port and what it hears, which is complete once the block is left."""
    heard: Heard = []
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as known:
        known.bind((address, 0))
        known.settimeout(20)
        thread = threading.Thread(target=serve, args=(known, heard))
        thread.start()
        yield known.getsockname()[1], heard
        thread.join()


def like_tftp(known: socket.socket, heard: Heard) -> None:
    """Answer from a new port, and wait there for what follows."""
    asked, client = known.recvfrom(1500)
    heard.append(("known", asked))
    with socket.socket(known.family, socket.SOCK_DGRAM) as other:
        other.bind((known.getsockname()[0], 0))
        other.settimeout(20)
        other.sendto(b"data", client)
        heard.append(("other", other.recvfrom(1500)[0]))


def check(
    port: int, *, address: str = "127.0.0.1", timeout: float = 20, any_port: bool = True, **keys: object
) -> UdpCheck:
    steps = (ConversationStep(send=b"read"), ConversationStep(expect=b"data"), ConversationStep(send=b"enough"))
    fields = {"name": "udp", "address": address, "port": port, "steps": steps, "any_port": any_port, **keys}
    return UdpCheck(timeout=Seconds(timeout), **fields)  # type: ignore[arg-type]


async def outcome_of(asked: UdpCheck) -> Outcome:
    return (await run_once([asked]))[probe_key(asked)].outcome


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_answer_from_another_port_passes_and_the_last_words_go_there(address: str) -> None:
    with server(like_tftp, address) as (port, heard):
        assert (await outcome_of(check(port, address=address))).kind is OutcomeKind.UP
    assert heard == [("known", b"read"), ("other", b"enough")]


async def test_answer_from_another_port_is_not_seen_unless_the_check_says_so() -> None:
    def serve(known: socket.socket, heard: Heard) -> None:
        _, client = known.recvfrom(1500)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            other.sendto(b"data", client)

    with server(serve) as (port, _):
        assert (await outcome_of(check(port, timeout=0.3, any_port=False))).reason is Reason.TIMEOUT


async def test_answer_from_the_same_port_passes_too() -> None:
    def serve(known: socket.socket, heard: Heard) -> None:
        _, client = known.recvfrom(1500)
        known.sendto(b"data", client)
        heard.append(("known", known.recvfrom(1500)[0]))

    with server(serve) as (port, heard):
        assert (await outcome_of(check(port))).kind is OutcomeKind.UP
    assert heard == [("known", b"enough")]


async def test_datagrams_of_another_address_are_passed_over() -> None:
    def serve(known: socket.socket, heard: Heard) -> None:
        _, client = known.recvfrom(1500)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.9", 0))
            for _ in range(250):
                stranger.sendto(b"data", client)
        known.sendto(b"no", client)

    with server(serve) as (port, _):
        outcome = await outcome_of(check(port, timeout=0.5))
    assert (outcome.reason, outcome.detail.removesuffix(EXTENDED)) == (
        Reason.BAD_ANSWER,
        'step 2 of 3: unexpected answer "no", and no other in 500ms',
    )


async def test_second_answer_from_yet_another_port_is_not_seen() -> None:
    def serve(known: socket.socket, heard: Heard) -> None:
        _, client = known.recvfrom(1500)
        known.sendto(b"no", client)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            threading.Event().wait(0.1)
            other.sendto(b"data", client)

    with server(serve) as (port, _):
        assert (await outcome_of(check(port, timeout=0.5))).reason is Reason.BAD_ANSWER


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_closed_port_is_refused_by_the_kernel_s_icmp(address: str) -> None:
    outcome = await outcome_of(check(free_port(), address=address))
    assert (outcome.reason, outcome.detail) == (Reason.REFUSED, "port unreachable (ICMP)")


async def test_address_to_which_nothing_may_be_sent_is_unsure() -> None:
    outcome = await outcome_of(check(69, address="255.255.255.255"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.UNSURE, Reason.NO_ROUTE)


async def test_last_words_of_an_ordinary_udp_check_are_sent_too() -> None:
    def serve(known: socket.socket, heard: Heard) -> None:
        _, client = known.recvfrom(1500)
        known.sendto(b"data", client)
        heard.append(("known", known.recvfrom(1500)[0]))

    with server(serve) as (port, heard):
        assert (await outcome_of(check(port, any_port=False))).kind is OutcomeKind.UP
    assert heard == [("known", b"enough")]
