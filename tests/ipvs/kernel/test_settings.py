"""How sync daemons are encoded and decoded. tests/kernel/test_director.py tests them against the real kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.genetlink import GarbledMessageError
from lvs_healthd.ipvs.kernel.requests import Requests
from lvs_healthd.ipvs.kernel.settings import Role, SettingsClient, SyncRecord, decode_sync, encode_sync
from lvs_healthd.runtime.netns import Netns

GENL = bytes(4)

RECORDS = st.builds(
    SyncRecord,
    role=st.sampled_from(Role),
    interface=st.text("abcdefgh0123456789.-", min_size=1, max_size=15),
    syncid=st.integers(0, 255),
    group=st.sampled_from(["224.0.0.81", "239.1.2.3", "ff02::81"]),
    port=st.integers(1, 65535),
    ttl=st.integers(1, 255),
    maxlen=st.integers(1, 65507),
)


@given(RECORDS)
def test_what_is_encoded_decodes_to_the_same(record: SyncRecord) -> None:
    assert decode_sync(GENL + encode_sync(record)) == record


@given(RECORDS, st.data())
def test_bytes_that_are_cut_short_are_garbled_and_nothing_worse(record: SyncRecord, data: st.DataObject) -> None:
    whole = GENL + encode_sync(record)
    cut = data.draw(st.integers(0, len(whole) - 4))
    with pytest.raises(GarbledMessageError):
        decode_sync(whole[:cut])


async def test_kernel_that_leaves_a_timeout_out_is_an_error_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find_family(_: Requests) -> bool:
        return True

    async def ask(*_: object, **__: object) -> bytes:
        return GENL

    monkeypatch.setattr(Requests, "find_family", find_family)
    monkeypatch.setattr(Requests, "ask", ask)
    with pytest.raises(TableUnavailableError, match="does not report its timeouts"):
        await SettingsClient(Netns()).timeouts()
