"""Answers of the gateway, and rubbish instead of them."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lvs_healthd.store.answers import (
    Event,
    Header,
    KeptAlive,
    Lease,
    NotAnAnswerError,
    Range,
    Record,
    Refusal,
    Transaction,
    Watched,
    answer,
    watched,
)

KINDS = [Range, Transaction, KeptAlive, Lease, Refusal]


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def without_zeros(value: dict[str, Any]) -> dict[str, Any]:
    """Leave out what protobuf leaves out."""
    return {name: each for name, each in value.items() if each not in (0, "0", "", False)}


numbers = st.integers(0, 2**63 - 1)


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40), numbers)), numbers, st.integers(0, 2**64 - 1))
def test_range_is_read_with_and_without_its_zeros(
    records: list[tuple[bytes, bytes, int]], revision: int, cluster: int
) -> None:
    kvs = [
        without_zeros({"key": coded(key), "value": coded(value), "mod_revision": str(changed), "lease": "7"})
        for key, value, changed in records
    ]
    header = without_zeros({"cluster_id": str(cluster), "revision": str(revision), "member_id": "1"})
    found = answer(json.dumps(without_zeros({"header": header, "kvs": kvs, "count": str(len(kvs))})).encode(), Range)
    assert found.header == Header(revision, cluster)
    assert found.kvs == tuple(Record(*each) for each in records)
    assert found.count == len(records)


def test_events() -> None:
    line = (
        b'{"result":{"header":{"cluster_id":"9","revision":"12"},"events":[{"kv":{"key":"YQ==","mod_revision":"12",'
        b'"value":"Yg=="}},{"type":"DELETE","kv":{"key":"Yw==","mod_revision":"12"}}]}}'
    )
    put, delete = Record(b"a", b"b", 12), Record(b"c", b"", 12)
    assert watched(line) == Watched(Header(12, 9), events=(Event(put), Event(delete, "DELETE")))


def test_end_of_a_watch() -> None:
    ended = watched(b'{"result":{"header":{"revision":"9"},"canceled":true,"compact_revision":"5"}}')
    assert ended == Watched(Header(9), canceled=True, compact_revision=5)
    refused = watched(b'{"error":{"grpc_code":16,"http_code":401,"message":"no","http_status":"Unauthorized"}}')
    assert refused == Refusal(message="no")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"error":"e","code":3}', "e"),
        ('{"error":"e","message":"m","code":3}', "m"),
        ('{"error":{"message":"of 3.5"}}', "of 3.5"),
        ("{}", ""),
    ],
)
def test_reasons_of_a_refusal(body: str, reason: str) -> None:
    assert answer(body.encode(), Refusal).reason == reason


@given(st.binary(max_size=200), st.sampled_from(KINDS))
@example(b'{"header":{"revision":"9"},"kvs":[{"key":"no base64"}]}', Range)
@example(b'{"header":{"revision":"nine"}}', Range)
@example(b'{"header":null}', Range)
@example(b"[" * 100_000, Range)
@example(b'{"header":{"revision":' + b"9" * 5000 + b"}}", Range)
@example(b"\xff", Range)
def test_rubbish_is_no_answer(body: bytes, kind: type[Range]) -> None:
    with contextlib.suppress(NotAnAnswerError):
        assert isinstance(answer(body, kind), kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["header", "kvs", "key", "result", "error", "events", "kv", "revision"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_lines_of_other_forms_are_no_answers(value: object) -> None:
    with contextlib.suppress(NotAnAnswerError):
        assert isinstance(watched(json.dumps(value).encode()), Watched | Refusal)
