"""Remarks on certificates that end soon: when they are made, and that each is made once."""

import msgspec

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpsCheck, Tls
from lvs_healthd.config.model import Config
from lvs_healthd.decide.endings import AT_ONCE, is_ending, remark_on
from lvs_healthd.events.kinds import CertificateEnding, Event
from lvs_healthd.probes.outcome import Outcome, up
from lvs_healthd.probes.targets import probe_key
from tests.configs import config, server, service
from tests.decide.test_decisions import Bench

A, B = "198.51.100.11", "198.51.100.12"
DAY = 86400.0
PASS = up("status 200")


def https(address: str = A, *, within_days: float = 14, name: str = "https") -> HttpsCheck:
    tls = Tls(sni="web.example", expires_within=Seconds(within_days * DAY))
    return HttpsCheck(name=name, address=address, port=443, host="web.example", tls=tls)


CHECK = https()


def site(*checks: HttpsCheck, weight: int = 1) -> Config:
    servers = [server(each.address, checks=(each,), weight=weight) for each in checks]
    return config(service(*servers, port=443))


class Told:
    """Decisions on a bench, and the remarks that the daemon would log."""

    def __init__(self, given: Config) -> None:
        self.bench = Bench()
        self.bench.configure(given)

    @property
    def wall(self) -> float:
        return self.bench.now + 1_000_000.0

    def sees(self, days: float, check: HttpsCheck = CHECK) -> Outcome:
        """Let a probe pass with a certificate that ends in so many days. Return its outcome."""
        outcome = msgspec.structs.replace(PASS, certificate_end=self.wall + days * DAY)
        self.bench.feed(check, outcome)
        return outcome

    def remarks(self) -> list[Event]:
        return list(self.bench.decisions.endings.remarks(self.wall))

    def remark(self, check: HttpsCheck = CHECK) -> str:
        return remark_on(self.bench.decisions.probes[probe_key(check)], self.wall)


def test_each_end_is_remarked_on_once_and_a_new_one_again() -> None:
    told = Told(site(CHECK))
    assert told.remarks() == []
    told.sees(13.5)
    (remark,) = told.remarks()
    assert remark == CertificateEnding(
        service="web", server=f"{A}:80", check="https", ends="1970-01-26 02:03 UTC", days=13
    )
    assert remark.level == "warning"
    for _ in range(3):
        told.bench.feed(CHECK, PASS)
        assert told.remarks() == []
    told.sees(10)
    assert len(told.remarks()) == 1
    assert told.remarks() == []


def test_time_alone_makes_a_remark_while_every_outcome_is_the_same() -> None:
    told = Told(site(CHECK))
    outcome = told.sees(15)
    told.bench.feed(CHECK, outcome, outcome, outcome)
    told.bench.now += 0.9 * DAY
    assert (told.remarks(), told.remark()) == ([], "")
    told.bench.now += 0.2 * DAY
    assert len(told.remarks()) == 1
    assert told.remarks() == []
    assert told.remark() == "the certificate ends on 1970-01-27 14:03 UTC"
    told.bench.now += 20 * DAY
    assert told.remark() == "the certificate ended on 1970-01-27 14:03 UTC"


def test_two_certificates_in_turn_are_remarked_on_once_each() -> None:
    told = Told(site(CHECK))
    first = told.sees(3)
    second = told.sees(4)
    found = []
    for _ in range(5):
        told.bench.feed(CHECK, first)
        found += told.remarks()
        told.bench.feed(CHECK, second)
        found += told.remarks()
    assert len(found) == 2


def test_renewed_certificate_takes_the_remark_back_and_0_days_make_none() -> None:
    told = Told(site(CHECK))
    told.sees(3)
    assert told.remark()
    told.sees(90)
    assert (told.remark(), told.remarks()) == ("", [])
    never = https(within_days=0)
    told = Told(site(never))
    told.sees(-1, never)
    assert (told.remark(never), told.remarks()) == ("", [])


def test_check_stays_up() -> None:
    told = Told(site(CHECK))
    for _ in range(3):
        told.sees(1)
    assert told.bench.weights() == {A: 1}


def test_reload_that_changes_the_server_makes_no_second_remark_and_a_new_service_makes_its_own() -> None:
    told = Told(site(CHECK))
    told.sees(3)
    assert len(told.remarks()) == 1
    told.bench.configure(site(CHECK, weight=5))
    assert told.remarks() == []
    both = config(
        service(server(A, checks=(CHECK,), weight=5), port=443),
        service(server(A, checks=(CHECK,)), name="other", address="192.0.2.101", port=443),
    )
    told.bench.configure(both)
    (remark,) = told.remarks()
    assert isinstance(remark, CertificateEnding)
    assert remark.service == "other"


def test_probe_that_a_reload_drops_makes_no_remark() -> None:
    other = https(B)
    told = Told(site(CHECK, other))
    told.sees(3)
    told.bench.configure(site(other))
    assert told.remarks() == []
    assert told.bench.decisions.endings._due == {}


def test_many_remarks_are_made_in_turns() -> None:
    checks = [https(f"198.51.{number // 250}.{number % 250 + 1}") for number in range(AT_ONCE + 10)]
    told = Told(site(*checks))
    for check in checks:
        told.sees(3, check)
    assert [len(told.remarks()) for _ in range(3)] == [AT_ONCE, 10, 0]


def test_many_checks_of_one_probe_are_told_of_in_turns() -> None:
    checks = [https(name=f"check{number}") for number in range(AT_ONCE + 10)]
    told = Told(config(service(server(A, checks=tuple(checks)), port=443)))
    told.bench.decisions.probes[probe_key(CHECK)].certificate_end = told.wall + DAY
    told.bench.decisions.verdicts.presented(told.bench.decisions.probes[probe_key(CHECK)])
    assert [len(told.remarks()) for _ in range(3)] == [AT_ONCE, 10, 0]
    assert is_ending(told.bench.decisions.probes[probe_key(CHECK)], told.wall)
