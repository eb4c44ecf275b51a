import pytest

from lvs_healthd.ipvs.describe import describe, surprise
from lvs_healthd.ipvs.records import DestinationRecord, Operation, ServiceRecord, Verb
from lvs_healthd.ipvs.words import SVC_F_ONEPACKET, SVC_F_PERSISTENT, ForwardingMethod
from tests.ipvs.tables import DNS, WEB, server, service

STICKY = service(WEB, "wlc", flags=SVC_F_PERSISTENT, timeout=300, netmask=24)
GUE = "tunnel gue port 6080 flags 0x1"
TUNNEL = server("198.51.100.1", 2, forward=ForwardingMethod.TUNNEL, tunnel_type=1, tunnel_port=6080, tunnel_flags=1)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (Operation(Verb.ADD_SERVICE, service()), "scheduler wrr"),
        (Operation(Verb.ADD_SERVICE, STICKY), "scheduler wlc, persistence 300s, netmask /24"),
        (Operation(Verb.ADD_SERVICE, service(DNS, flags=SVC_F_ONEPACKET)), "scheduler wrr, flags ops"),
        (Operation(Verb.DELETE_SERVICE, service(), was=service()), "scheduler wrr"),
        (Operation(Verb.ADD_SERVER, service(), server("198.51.100.1", 0)), "weight 0, forward nat"),
        (Operation(Verb.ADD_SERVER, service(), TUNNEL), f"weight 2, forward tun, {GUE}"),
        (Operation(Verb.DELETE_SERVER, service(), TUNNEL, TUNNEL), f"weight 2, forward tun, {GUE}"),
        (
            Operation(Verb.SET_SERVICE, STICKY, was=service()),
            "scheduler wrr -> wlc, persistence off -> 300s, netmask /32 -> /24",
        ),
        (
            Operation(Verb.SET_SERVER, service(), server("198.51.100.1", 0), server("198.51.100.1")),
            "weight 1 -> 0",
        ),
        (
            Operation(
                Verb.SET_SERVER,
                service(),
                server("198.51.100.1", upper_threshold=9, lower_threshold=3),
                server("198.51.100.1", forward=ForwardingMethod.DROUTE),
            ),
            "forward dr -> nat, upper threshold 0 -> 9, lower threshold 0 -> 3",
        ),
    ],
)  # fmt: skip
def test_an_operation_in_words(operation: Operation, words: str) -> None:
    assert describe(operation) == words


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (server("198.51.100.1"), server("198.51.100.1", 7), "weight 7, expected 1"),
        (service(netmask=24), service(netmask=-0xFF00FF00), "netmask 255.0.255.0, expected /24"),
        (service(flags=0x18), service(flags=0x40), "flags 0x40, expected flag-1,flag-2"),
        (service(timeout=0), service(timeout=60), "persistence off (60s), expected off"),
        (service(persistence_engine="sip"), service(), "engine none, expected sip"),
        (server("198.51.100.1", 1), TUNNEL, f"weight 2, expected 1; forward tun, expected nat; {GUE}, expected none"),
    ],
)  # fmt: skip
def test_a_surprise_in_words(
    expected: ServiceRecord | DestinationRecord, found: ServiceRecord | DestinationRecord, words: str
) -> None:
    assert surprise(expected, found) == words
