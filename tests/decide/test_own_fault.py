"""What counts as a fault of this director."""

from lvs_healthd.decide.own_fault import symptoms
from lvs_healthd.decide.way import Held


def held(*causes: str) -> Held:
    return Held("eth1", 100.0, 5, 5, causes)


def test_brake_counts_by_what_it_has_found_wrong_with_the_director() -> None:
    assert symptoms((), (held(),)) == (), "all directors may see the same silence"
    full, firewall = "connection tracking is full", "our own firewall drops the packets"
    assert symptoms((full,), (held(), held(firewall, full))) == (full, firewall)
    assert symptoms((full,), ()) == (full,)
