"""What mon's alerts do to the table, and after how many failures."""

import pytest

from lvs_healthd.importers.mon.alerts import Effect, IncompleteError, effect, fall, links
from lvs_healthd.importers.mon.records import Service
from tests.importers.mon_understanding import reading


def service(*lines: str) -> Service:
    """Return a service with these lines in it."""
    text = "\n".join(("hostgroup web 198.51.100.1", "", "watch web", "service http", "interval 10s", *lines))
    configuration, account = reading(text)
    account.check()
    return configuration.watches["web"].services["http"]


@pytest.mark.parametrize(
    ("after", "interval_s", "count"),
    [
        ((), 10, 1),
        (("3",), 10, 3),
        (("0",), 10, 1),
        (("1m",), 20, 5),
        (("50s",), 20, 4),
        (("15m",), 10, 92),
        (("2 5m",), 10, 2),
        (("5", "20s"), 10, 8),
        (("2", "30s"), 10, 6),
    ],
)
def test_alert_comes_after_as_many_failures_as_with_mon(after: tuple[str, ...], interval_s: float, count: int) -> None:
    """The counts were seen by calling `do_alert` of mon 1.3.6 with a clock that moves by the interval."""
    given = service("period", *(f"alertafter {each}" for each in after), "alert x.alert")
    assert fall(given, interval_s).count == count


def test_only_alerts_that_change_the_table_say_after_how_many_failures() -> None:
    given = service(
        "period A:", "alertafter 3", "alert lvs.alert", "period B:", "alertafter 9", "alert mail.alert a@example.org"
    )
    assert fall(given, 10).count == 3


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ((), Effect.NOTHING),
        (("period", "upalert lvs.alert"), Effect.NOTHING),
        (("period none", "alert lvs.alert"), Effect.NOTHING),
        (("period", "alert mail.alert ops@example.org"), Effect.TELLS),
        (("period", "alert test.alert"), Effect.SCRIPT),
        (("period", "alert exit=2 ipvs.alert -P tcp"), Effect.CHANGES),
    ],
)
def test_effect_on_the_table(lines: tuple[str, ...], found: Effect) -> None:
    assert effect(service(*lines)) is found


def test_arguments_of_ipvs_alert_are_read_as_getopt_does() -> None:
    given = service(
        "period",
        "alert ipvs.alert -Ptcp -V 203.0.113.1:80 -R 198.51.100.1:80",
        "upalert ipvs.alert -uBP tcp -V203.0.113.1:80 -R '198.51.100.1:80' -W 5 -Fdr -S wrr",
    )
    (link,) = links(given)
    assert (link.protocol, link.service, link.server) == ("-t", "203.0.113.1:80", "198.51.100.1:80")
    assert (link.weight, link.method, link.scheduler, link.comes_back) == ("5", "-g", "wrr", True)


def test_scheduler_without_b_is_not_used_by_ipvs_alert() -> None:
    given = service(
        "period",
        "alert ipvs.alert -P udp -V 203.0.113.1:53 -R 198.51.100.1:53",
        "upalert ipvs.alert -P udp -V 203.0.113.1:53 -R 198.51.100.1:53 -W 5 -F nat -S wrr",
    )
    assert links(given)[0].scheduler == ""


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "-P sctp -V 203.0.113.1:80 -R 198.51.100.1:80",
        "-P tcp -R 198.51.100.1:80",
        "-P tcp -V 203.0.113.1:80",
        "-P tcp -V 203.0.113.1:80 -R 198.51.100.1:80 -x",
        "-P tcp -V 203.0.113.1:80 -R 198.51.100.1:80 more",
    ],
)
def test_arguments_with_which_ipvs_alert_does_nothing_are_not_taken(arguments: str) -> None:
    with pytest.raises(IncompleteError):
        links(service("period", f"alert ipvs.alert {arguments}"))
