"""A configuration that would take out too much of what serves is refused, unless it is forced."""

import asyncio
from collections.abc import Collection, Mapping

import msgspec
import pytest

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Config, Daemon
from lvs_healthd.daemon.guard import refuse_loss
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey, Table
from lvs_healthd.plan.records import destination_key, service_key
from tests.configs import config, server, service
from tests.decide.test_decisions import table_of

TEN = tuple(f"198.51.100.{number}" for number in range(11, 21))
SERVING = table_of(config(service(*map(server, TEN))))
MEANT = "lvs-healthd reload --force"


def error(
    given: Config,
    present: Table = SERVING,
    shared: Mapping[ServiceKey, Collection[DestinationKey]] | None = None,
    unchanged: Collection[ServiceKey] = (),
) -> str:
    """Return why a configuration is refused; "" if it is not."""
    try:
        asyncio.run(refuse_loss("config.toml", given, present, shared or {}, MEANT, unchanged=unchanged))
    except ConfigError as refused:
        (text,) = refused.errors
        return text
    return ""


def left(number: int, guard: int = 50) -> Config:
    """Return a configuration with so many of the ten servers."""
    given = config(service(*map(server, TEN[:number])))
    return msgspec.structs.replace(given, daemon=Daemon(reload_guard=guard))


@pytest.mark.parametrize(
    ("number", "guard", "is_refused"),
    [(10, 0, False), (9, 0, True), (5, 50, False), (4, 50, True), (1, 90, False), (1, 89, True), (1, 100, False)],
)
def test_more_than_the_share_of_the_serving_servers_is_refused(number: int, guard: int, is_refused: bool) -> None:
    assert bool(error(left(number, guard))) is is_refused


def test_error_says_how_many_which_and_what_to_type() -> None:
    assert error(left(1)) == (
        "config.toml: 9 of the 10 servers that serve now would be taken out, more than the 50% of [daemon] "
        "reload_guard: 198.51.100.12:80 of 192.0.2.100:80/tcp, 198.51.100.13:80 of 192.0.2.100:80/tcp, "
        "198.51.100.14:80 of 192.0.2.100:80/tcp and 6 more. If that is meant: lvs-healthd reload --force"
    )


def test_fewer_than_ten_serving_servers_are_not_guarded_but_an_empty_file_is_refused() -> None:
    nine = table_of(config(service(*map(server, TEN[:9]))))
    assert error(left(1), nine) == ""
    assert "no [[service]]" in error(config(), nine)
    assert error(config(), {}) == ""


def test_only_what_serves_counts() -> None:
    """Five of the ten are at weight 0, so nine servers serve with the other four; taking those out loses nothing."""
    fifteen = (*TEN, *(f"198.51.100.{number}" for number in range(31, 36)))
    present = table_of(config(service(*map(server, TEN), *(server(each, weight=0) for each in fifteen[10:]))))
    assert error(left(5), present) == ""
    assert "5 of the 10" in error(left(5, 49), present)


def test_weight_0_takes_out_and_another_address_of_the_service_does_too() -> None:
    zero = config(service(*(server(each, weight=0) for each in TEN)))
    moved = config(service(*map(server, TEN), address="192.0.2.101"))
    assert "10 of the 10" in error(zero)
    assert "10 of the 10" in error(moved)


def test_servers_of_others_in_a_shared_service_do_not_count() -> None:
    (given,) = config(service(*map(server, TEN))).services
    ours = {service_key(given): {destination_key(each) for each in given.real_servers[:3]}}
    assert error(left(1), shared=ours) == ""


def test_server_that_becomes_a_fallback_is_kept() -> None:
    assert error(config(service(server(TEN[0]), fallback=TEN[1:]))) == ""


def test_service_that_is_configured_as_before_loses_nothing_and_counts_among_what_serves() -> None:
    both = config(service(*map(server, TEN)), service(*map(server, TEN), name="other", address="192.0.2.101"))
    first, second = map(service_key, both.services)
    present = table_of(both)
    present[first].destinations.popitem()
    assert "19 of the 19" in error(config(service(address="192.0.2.102")), present)
    one_left = msgspec.structs.replace(both, services=both.services[:1])
    assert error(one_left, present, unchanged={first}) != ""  # ten of nineteen
    few_left = config(service(*map(server, TEN[:1])), both.services[1])
    assert error(few_left, present, unchanged={second}) == ""  # eight of nineteen
