"""Running nft when it works, fails, hangs or is not installed."""

from pathlib import Path

import pytest

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.model import Config, Forward, RealServer, Service
from lvs_healthd.director import nft
from lvs_healthd.director.aspect import SettingError
from lvs_healthd.director.rules import NftTable
from lvs_healthd.runtime.netns import Netns

FULLNAT = Service(
    name="web",
    endpoint=Endpoint("192.0.2.1", 80),
    real_servers=(RealServer(endpoint=Endpoint("198.51.100.1", 80), forward=Forward.FULLNAT),),
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder and make it the whole search path, so that a test can put its own nft there."""
    monkeypatch.setattr(nft, "_PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, script: str) -> None:
    file = folder / "nft"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_output_is_returned_and_input_is_given(fake: Path) -> None:
    program(fake, 'echo "$@"; /bin/cat')
    assert nft.nft(Netns(), "-f", "-", stdin=b"rules") == b"-j -f -\nrules"


def test_table_that_is_not_there_is_none(fake: Path) -> None:
    program(fake, 'echo "Error: No such file or directory" >&2; exit 1')
    assert nft.nft(Netns(), "list", "table") is None
    with pytest.raises(SettingError, match="No such file"):
        nft.nft(Netns(), "-f", "-")


def test_without_nft_the_error_says_what_to_install(fake: Path) -> None:
    assert not nft.is_there()
    with pytest.raises(SettingError, match="apt install nftables"):
        nft.nft(Netns(), "list")


def test_missing_permission_says_what_to_grant(fake: Path) -> None:
    program(fake, 'echo "netlink: Error: cache initialization failed: Operation not permitted" >&2; exit 1')
    with pytest.raises(SettingError, match="CAP_NET_ADMIN"):
        nft.nft(Netns(), "list")


def test_long_complaint_is_cut(fake: Path) -> None:
    program(fake, "i=0; while [ $i -lt 200 ]; do echo 'Error: syntax' >&2; i=$((i+1)); done; exit 1")
    with pytest.raises(SettingError) as caught:
        nft.nft(Netns(), "-f", "-")
    assert len(str(caught.value)) < 320


def test_one_that_hangs_is_killed(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "DEADLINE_S", 0.2)
    program(fake, "exec /bin/sleep 1000")
    with pytest.raises(SettingError, match=r"no answer within 0\.2s"):
        nft.nft(Netns(), "list")


@pytest.mark.parametrize("output", [b"{}", b"[", b'{"nftables":[{"a":"\xff"}]}'])
def test_output_that_is_no_listing(output: bytes) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        nft.decode(output)


async def test_a_failing_nft_does_not_matter_without_rules_of_ours(fake: Path) -> None:
    program(fake, 'echo "Error: JSON support not compiled-in" >&2; exit 1')
    rules = NftTable(Netns())
    rules.want(Config())
    assert await rules.differing() == []
    rules.want(Config(services=(FULLNAT,)))
    for config in (Config(services=(FULLNAT,)), Config()):  # our old rules are looked for until they are gone
        rules.want(config)
        with pytest.raises(SettingError, match="JSON support"):
            await rules.differing()
    program(fake, 'echo "Error: No such file or directory" >&2; exit 1')
    assert await rules.differing() == []
    program(fake, 'echo "Error: JSON support not compiled-in" >&2; exit 1')
    assert await rules.differing() == []


async def test_rules_of_an_earlier_run_are_found_once_nft_works(fake: Path) -> None:
    program(fake, 'echo "Error: Out of memory" >&2; exit 1')
    rules = NftTable(Netns())
    rules.want(Config())
    assert await rules.differing() == []
    listing = '{"nftables": [{"chain": {"family": "inet", "table": "lvs_healthd", "name": "input"}}]}'
    program(fake, f"echo '{listing}'")
    (found,) = await rules.differing()
    assert found.wanted == "none"
