"""What is found wrong with the director while targets are silent, and what shows that nothing is."""

import struct
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

import pytest

from lvs_healthd.director import neighbours, own_firewall
from lvs_healthd.director.diagnosis import Diagnosis, Question
from lvs_healthd.director.neighbours import MOST_ASKED, Entry, Neighbour, worth_asking
from lvs_healthd.director.own_firewall import Drops, dropping, risen
from lvs_healthd.director.ways import Hop

REACHABLE, STALE, FAILED = 0x2, 0x4, 0x20
INNER, OUTER = 5, 6
RS1, RS2, ROUTER = "198.51.100.11", "198.51.100.12", "198.51.100.1"


def chain(name: str, hook: str = "") -> dict[str, Any]:
    return {"chain": {"family": "inet", "table": "own", "name": name} | ({"hook": hook} if hook else {})}


def rule(chain: str, handle: int, *expressions: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "own", "chain": chain, "handle": handle, "expr": [*expressions]}}


def counter(packets: int) -> dict[str, Any]:
    return {"counter": {"packets": packets, "bytes": 60 * packets}}


DROP: dict[str, Any] = {"drop": None}


def test_only_rules_that_count_and_drop_what_leaves_the_host_are_read() -> None:
    found = dropping(
        [
            {"metainfo": {"json_schema_version": 1}},
            chain("out", "output"),
            chain("in", "input"),
            chain("user"),
            chain("unused"),
            rule("out", 1, {"match": {}}, counter(7), DROP),
            rule("out", 2, counter(8), {"accept": None}),
            rule("out", 3, DROP),
            rule("out", 4, {"jump": {"target": "user"}}),
            rule("user", 5, counter(9), DROP),
            rule("user", 6, {"goto": {"target": "out"}}),
            rule("in", 7, counter(10), DROP),
            rule("unused", 8, counter(11), DROP),
        ]
    )
    assert found == {("inet", "own", "out", 1): 7, ("inet", "own", "user", 5): 9}


def test_rule_that_has_dropped_meanwhile_is_named_and_a_new_or_quiet_one_is_not() -> None:
    at = ("inet", "own", "out", 1)
    (named,) = risen({at: 7, ("ip", "a", "b", 2): 3}, {at: 8, ("ip", "a", "b", 2): 3, ("ip", "a", "b", 4): 99})
    assert "nft -a list chain inet own out" in named
    assert "rule 1" in named


def test_rule_that_is_made_while_it_is_watched_is_named_from_its_next_packet_on() -> None:
    at = ("inet", "own", "out", 1)
    assert risen({}, {at: 5}) == []


def message(address: str, state: int, ticks: int, interface: int = INNER) -> bytes:
    family = AF_INET6 if ":" in address else AF_INET
    packed = inet_pton(family, address)
    body = struct.pack("=BxxxiHBB", family, interface, state, 0, 1)
    body += struct.pack("=HH", 4 + len(packed), 1) + packed
    body += struct.pack("=HH", 10, 2) + bytes(6) + bytes(2)
    body += struct.pack("=HHIIII", 20, 3, ticks, 1, 1, 0)
    return struct.pack("=IHHII", 16 + len(body), 28, 0, 0, 0) + body


def test_neighbour_is_read_from_the_kernels_answer() -> None:
    for address in (RS1, "2001:db8:2::11"):
        assert list(neighbours.read([message(address, STALE, 1234)])) == [Neighbour(INNER, address, STALE, 12.34)]
    both = message(RS1, REACHABLE, 0) + message(RS2, FAILED, 100)
    assert [each.address for each in neighbours.read([both, b""])] == [RS1]


def test_whole_table_names_the_states_as_ip_neigh_does() -> None:
    both = message(RS1, REACHABLE, 0) + message("2001:db8:2::12", FAILED, 100)
    assert list(neighbours.read_entries([both])) == [
        Entry(INNER, RS1, "00:00:00:00:00:00", "REACHABLE"),
        Entry(INNER, "2001:db8:2::12", "00:00:00:00:00:00", "FAILED"),
    ]


def test_those_who_were_heard_last_are_asked_and_of_a_next_hop_only_itself() -> None:
    many = [Neighbour(INNER, f"198.51.100.{number}", STALE, 100.0 - number) for number in range(1, 21)]
    other = Neighbour(OUTER, "192.0.2.2", REACHABLE, 0.0)
    assert worth_asking([*many, other], INNER, "") == many[::-1][:MOST_ASKED]
    assert worth_asking([*many, other], INNER, ROUTER) == [many[0]]
    assert worth_asking([other], INNER, "") == []


class Director:
    """A director made up by a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.around: list[Neighbour] = []
        self.asked: list[str] = []
        self.drops: Drops | None = {}
        self.readings = 0
        monkeypatch.setattr(neighbours, "neighbours", lambda: self.around)
        monkeypatch.setattr(neighbours, "ask", lambda them: self.asked.extend(each.address for each in them))
        monkeypatch.setattr(own_firewall, "read_drops", self._read)

    def _read(self) -> Drops | None:
        self.readings += 1
        return None if self.drops is None else dict(self.drops)


@pytest.fixture
def director(monkeypatch: pytest.MonkeyPatch) -> Director:
    return Director(monkeypatch)


ETH1 = {"eth1": Question(Hop("eth1", INNER, ""), 100.0)}


def test_neighbour_heard_since_then_is_the_proof_and_others_are_asked(director: Director) -> None:
    doctor = Diagnosis()
    director.around = [Neighbour(INNER, RS1, REACHABLE, 5.0), Neighbour(INNER, RS2, STALE, 50.0)]
    found = doctor.turn(ETH1, 104.0)["eth1"]
    assert (found.proof, director.asked) == ("", [RS1, RS2])
    director.around[1] = Neighbour(INNER, RS2, REACHABLE, 0.5)
    director.asked.clear()
    found = doctor.turn(ETH1, 105.0)["eth1"]
    assert (found.proof, director.asked) == (f"neighbour {RS2} answers on eth1", [])


def test_way_behind_a_router_is_proved_by_the_router_alone(director: Director) -> None:
    director.around = [Neighbour(INNER, RS1, REACHABLE, 0.0), Neighbour(INNER, ROUTER, STALE, 60.0)]
    question = {f"eth1 via {ROUTER}": Question(Hop("eth1", INNER, ROUTER), 100.0)}
    doctor = Diagnosis()
    assert doctor.turn(question, 105.0)[f"eth1 via {ROUTER}"].proof == ""
    assert director.asked == [ROUTER]


def test_firewall_is_watched_from_the_first_reading_on_and_less_often_later(director: Director) -> None:
    at = ("inet", "own", "out", 1)
    director.drops = {at: 7}
    doctor = Diagnosis()
    first = doctor.turn(ETH1, 105.0)["eth1"]
    assert (first.drops, first.watched_from, first.watched_to) == ((), 105.0, 105.0)
    director.drops = {at: 9}
    second = doctor.turn(ETH1, 106.0)["eth1"]
    assert (len(second.drops), second.watched_from, second.watched_to) == (1, 105.0, 106.0)
    for number in range(10):
        doctor.turn(ETH1, 107.0 + number)
    assert director.readings == 6  # once a second for five seconds, then every five
    doctor.forget()
    again = doctor.turn(ETH1, 200.0)["eth1"]
    assert (again.drops, again.watched_from) == ((), 200.0)


def test_firewall_that_cannot_be_read_is_not_waited_for(director: Director) -> None:
    director.drops = None
    found = Diagnosis().turn(ETH1, 105.0)["eth1"]
    assert (found.watched_from, found.watched_to) == (0.0, 0.0)


def test_kernel_that_answers_no_question_about_neighbours_proves_nothing(
    director: Director, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(neighbours, "neighbours", fails)
    monkeypatch.setattr(neighbours, "ask", fails)
    assert Diagnosis().turn(ETH1, 105.0)["eth1"].proof == ""
    assert director.readings == 1
