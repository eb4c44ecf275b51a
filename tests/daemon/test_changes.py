"""What a reload is said to have changed."""

import msgspec

from lvs_healthd.config.model import Config, Mode, Service
from lvs_healthd.daemon.changes import MOST_FINDINGS, Differences, changes, named_changes
from lvs_healthd.view.reload_values import Change
from tests.configs import config, server, service, tcp_check

A, B, C = (f"198.51.100.{number}" for number in (11, 12, 13))
WEB = service(server(A), server(B))


def counted(old: Config, new: Config) -> dict[str, int]:
    """Return the counts that are not 0."""
    event = changes("config.toml", old, new, was=Mode.ENFORCE, mode=Mode.ENFORCE)
    return {name: value for name, value in msgspec.structs.asdict(event).items() if isinstance(value, int) and value}


def web(**changed: object) -> Service:
    return msgspec.structs.replace(WEB, **changed)


def test_nothing_changed_is_nothing_counted() -> None:
    assert counted(config(WEB), config(WEB)) == counted(config(WEB), config(web())) == {}


def test_changed_weights_are_changed_servers() -> None:
    assert counted(config(WEB), config(service(server(A, weight=3), server(B, weight=0)))) == {"servers_changed": 2}


def test_changed_scheduler_persistence_and_fallback_are_one_changed_service() -> None:
    fallback = service(fallback=("198.51.100.99",)).fallback
    for changed in (web(scheduler="wlc"), web(persistence=300.0), web(fallback=fallback), web(name="other")):
        assert counted(config(WEB), config(changed)) == {"services_changed": 1}


def test_changed_check_is_neither_a_changed_server_nor_a_changed_service() -> None:
    checked = web(real_servers=(server(A, checks=(tcp_check(A, 80, rise=5),)), server(B)))
    assert counted(config(WEB), config(checked)) == {"checks_changed": 1}


def test_what_comes_and_goes_is_not_changed() -> None:
    other = service(server(A), name="other", address="192.0.2.101")
    assert counted(config(WEB), config(service(server(A), server(C)), other)) == {
        "services_added": 1,
        "servers_added": 2,
        "servers_removed": 1,
    }


def test_change_of_mode_is_told() -> None:
    event = changes("config.toml", config(WEB), config(WEB), was=Mode.ENFORCE, mode=Mode.SHADOW)
    assert (event.was, event.mode) == ("enforce", "shadow")


def test_each_counted_change_is_named_and_what_is_removed_comes_first() -> None:
    checks = (tcp_check(A, 80, rise=5), tcp_check(A, 80, name="more"))
    new = config(
        service(server(A, checks=checks), server(C), scheduler="wlc"),
        service(server(A), name="other", address="192.0.2.101"),
    )
    gone = service(name="gone", address="192.0.2.102")
    assert named_changes(config(WEB, gone), new) == (
        Change(how="removed", service="gone"),
        Change(how="changed", service="web"),
        Change(how="added", service="other"),
        Change(how="removed", service="web", server=f"{B}:80"),
        Change(how="added", service="web", server=f"{C}:80"),
        Change(how="added", service="other", server=f"{A}:80"),
        Change(how="changed", service="web", server=f"{A}:80", check="tcp"),
        Change(how="added", service="web", server=f"{A}:80", check="more"),
    )
    assert sum(counted(config(WEB, gone), new).values()) == 8


def test_no_more_changes_are_named_than_an_answer_should_hold() -> None:
    many = service(*(server(f"198.51.100.{number}") for number in range(1, 2 + MOST_FINDINGS)))
    assert len(named_changes(config(), config(many))) == MOST_FINDINGS


def test_what_is_different_about_each_server_names_fallback_servers_too() -> None:
    old = config(service(server("198.51.100.1"), server("198.51.100.2", weight=2), fallback=("198.51.100.98",)))
    new = config(
        service(server("198.51.100.2", weight=5), server("198.51.100.3"), fallback=("198.51.100.99",)),
        service(server("198.51.100.1"), name="other", address="192.0.2.101"),
    )
    found = [(each.server and each.server.address, each.how, each.what) for each in Differences(old, new).of_servers()]
    assert sorted(found, key=str) == [
        ("198.51.100.1", "added", ""),
        ("198.51.100.1", "removed", ""),
        ("198.51.100.2", "changed", "weight 2 -> 5"),
        ("198.51.100.3", "added", ""),
        ("198.51.100.98", "removed", ""),
        ("198.51.100.99", "added", ""),
        (None, "added", ""),
    ]
