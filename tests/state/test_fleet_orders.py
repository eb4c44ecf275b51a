"""An order of etcd is read back as it was written, and whatever else is there is refused with words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.state.fleet_orders import WrongOrderError, key_of, read_order, written
from lvs_healthd.state.overrides import Kind, Override

DRAIN = Override(
    kind=Kind.DRAIN,
    service="192.0.2.100:80/tcp",
    server="198.51.100.11:80",
    reason="kernel update",
    uid=1000,
    since=1_790_000_000.0,
    until=1_790_007_200.0,
    director="lvs1",
)


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(written(DRAIN)) | fields).encode()


def test_a_key_is_named_after_what_it_is_about() -> None:
    assert key_of(DRAIN) == "state/192.0.2.100:80/tcp/198.51.100.11:80"
    assert read_order(key_of(DRAIN), written(DRAIN)) == DRAIN


def test_fields_of_a_newer_daemon_are_passed_over() -> None:
    assert read_order(key_of(DRAIN), changed(colour="green")) == DRAIN


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no director": ({"director": ""}, "director"),
    "a reason of two lines": ({"reason": "kernel\nupdate"}, "reason"),
    "a long reason": ({"reason": "x" * 201}, "reason"),
    "a weight for a drain": ({"weight": 3}, "weight"),
    "no weight": ({"kind": "weight"}, "weight"),
    "a weight that the kernel does not take": ({"kind": "weight", "weight": 65536}, "weight"),
    "a time before all others": ({"until": -1}, "until"),
    "a time that never comes": ({"deadline": 1e300}, "deadline"),
    "another server": ({"server": "198.51.100.12:80"}, "its key must be named"),
    "another kind": ({"kind": "hang"}, "hang"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    fields, word = WRONG[name]
    with pytest.raises(WrongOrderError, match=word):
        read_order(key_of(DRAIN), changed(**fields))


def test_a_huge_value_is_not_read() -> None:
    with pytest.raises(WrongOrderError, match="4096 bytes"):
        read_order(key_of(DRAIN), changed(colour="x" * 5000))


_values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("weight"))


@given(st.dictionaries(st.sampled_from(Override.__struct_fields__), _values))
def test_any_value_is_an_order_that_can_be_written_again_or_wrong(fields: dict[str, Any]) -> None:
    value = json.dumps(json.loads(written(DRAIN)) | fields).encode()
    try:
        found = read_order(key_of(DRAIN), value)
    except WrongOrderError:
        return
    assert read_order(key_of(found), written(found)) == found


@given(st.binary(max_size=200))
def test_any_bytes_are_an_order_or_wrong(value: bytes) -> None:
    with pytest.raises(WrongOrderError):
        read_order("state/x/y", value)
