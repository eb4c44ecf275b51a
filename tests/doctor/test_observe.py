"""The doctor looks at whatever host it runs on, says what it could not see, and is through in time."""

import time

import msgspec
import pytest

from lvs_healthd.config.load import parse
from lvs_healthd.doctor import host, observe
from lvs_healthd.doctor.judging import judge
from lvs_healthd.doctor.observations import Observations
from lvs_healthd.doctor.observe import Asked
from lvs_healthd.view.naming import UnknownNameError
from tests import statuses
from tests.doctor.seen import director

CONFIG = """
[[service]]
name = "web"
address = "127.0.0.100:80"
check = "tcp"
real_server = ["127.0.0.1"]
"""


def test_any_host_can_be_looked_at_and_what_was_seen_can_be_read_again() -> None:
    steps: list[str] = []
    seen = observe.observe(Asked(parse(CONFIG, "config.toml")), steps.append)
    assert [each.name for each in seen.services] == ["web"]
    assert seen.services[0].servers[0].is_here
    assert "lo" in [each.name for each in seen.host.links]
    assert steps[0] == "reading the kernel's table"
    assert msgspec.json.decode(msgspec.json.encode(seen), type=Observations) == seen
    assert "forwarding-off" not in [each.name for each in judge(seen)]


def test_a_service_that_is_not_there_is_said_so() -> None:
    with pytest.raises(UnknownNameError, match='no service is called "wbe"'):
        observe.observe(Asked(parse(CONFIG, "config.toml"), service="wbe"), lambda _: None)


def test_what_hangs_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe._Looking, "_left_s", lambda *_: 0.3)
    monkeypatch.setattr(host, "rules", lambda _: time.sleep(3))
    began = time.monotonic()
    seen = observe.observe(Asked(parse(CONFIG, "config.toml")), lambda _: None)
    assert seen.host.rules is None
    assert any("listing the rules of nftables" in each for each in seen.unseen)
    assert time.monotonic() - began < observe.TOTAL_S


def test_the_daemons_words_are_taken_over() -> None:
    status = statuses.status()
    seen = observe.observe(Asked(None, status=status), lambda _: None)
    assert seen.daemon is not None
    assert seen.daemon.version == status.daemon.version


def test_recorded_observations_are_judged_again_in_the_same_way() -> None:
    seen = director()
    again = msgspec.json.decode(msgspec.json.encode(seen), type=Observations)
    assert judge(again) == judge(seen)


def test_an_interface_with_a_dot_in_its_name_is_written_as_sysctl_takes_it() -> None:
    assert host.conf("eth0", "rp_filter") == "net.ipv4.conf.eth0.rp_filter"
    assert host.conf("eth0.100", "rp_filter") == "net/ipv4/conf/eth0.100/rp_filter"
    assert host.conf("eth0.100", "forwarding") in host.sysctl_names(["eth0.100"])
