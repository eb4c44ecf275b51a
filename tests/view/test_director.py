"""What a director says of itself to be compared: what is configured, without secrets, and what the kernel is set to."""

import msgspec

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.model import RealServer
from lvs_healthd.view.director import SYSCTLS, _configuration
from tests.configs import server, service, tcp_check


async def test_only_keys_that_do_not_have_their_default_are_named() -> None:
    assert (await _configuration(service(scheduler="wlc"))).settings == {}
    found = await _configuration(service(scheduler="wrr", persistence=300.0))
    assert found.settings == {"scheduler": "wrr", "persistence": "300.0"}
    assert found.address == "192.0.2.100:80/tcp"


async def test_the_digest_of_checks_does_not_depend_on_the_order_of_servers_or_on_weights() -> None:
    one, two = server("198.51.100.11"), server("198.51.100.12")
    heavy = msgspec.structs.replace(two, weight=7)
    found = [(await _configuration(each)).checks for each in (service(one, two), service(heavy, one))]
    assert found[0] == found[1]


async def test_the_digest_of_checks_differs_for_another_pace_target_or_type() -> None:
    async def digest(**keys: object) -> str:
        check = tcp_check("198.51.100.11", 80, **keys)
        return (await _configuration(service(server("198.51.100.11", checks=(check,))))).checks

    others: list[dict[str, object]] = [{"interval": 3.0}, {"fall": 4}, {"name": "other"}, {"timeout": 0.5}]
    assert len({await digest(**each) for each in [{}, *others]}) == 5


def with_path(path: str) -> RealServer:
    return server(
        "198.51.100.11", checks=(HttpCheck(name="http", address="198.51.100.11", port=80, host="a", path=path),)
    )


async def test_a_secret_in_a_path_does_not_reach_the_digest_and_the_path_does() -> None:
    found = [
        (await _configuration(service(with_path(each)))).checks for each in ("/a?token=123456", "/a?token=654321", "/b")
    ]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_the_sysctls_that_advice_is_about_and_those_of_ipvs_are_told_and_not_those_of_the_machine() -> None:
    assert {"net.ipv4.ip_forward", "net.ipv4.vs.conntrack", "net.ipv4.vs.sync_threshold"} <= {*SYSCTLS}
    assert "net.ipv4.vs.est_cpulist" not in SYSCTLS
