"""What differs between directors is found with what to type, and what is meant to differ is only named."""

from typing import Any

import msgspec
import pytest

from lvs_healthd.doctor.comparing import compare, services_named
from lvs_healthd.doctor.finding import Finding, Sureness
from lvs_healthd.doctor.peers import HERE, Told, Unreached, WrongUrlError, url_of
from lvs_healthd.view.agreement_values import AgreementStatus, VetoStatus
from lvs_healthd.view.announce_values import AnnounceStatus
from lvs_healthd.view.director_values import DirectorValues, ServiceConfiguration, SyncValues, TimeoutValues
from lvs_healthd.view.source_values import SourceStatus
from lvs_healthd.view.status_values import CheckStatus, DaemonStatus, RealServerStatus, ServiceStatus, Status

NOW = 1_700_000_000.0
LONG_AGO = NOW - 3600
WEB = "192.0.2.100:80/tcp"
RS1, RS2 = "198.51.100.11:80", "198.51.100.12:80"
MASTER = SyncValues(role="master", interface="eth1", syncid=1, group="224.0.0.81", port=8848)
BACKUP = msgspec.structs.replace(MASTER, role="backup")


def server(name: str = RS1, **fields: Any) -> RealServerStatus:
    default = {"verdict": "up", "reason": "status 200", "since": LONG_AGO, "weight_configured": 1, "weight_wanted": 1}
    return RealServerStatus(**{"server": name, "weight_actual": 1, **default, **fields})


def service(*servers: RealServerStatus, **fields: Any) -> ServiceStatus:
    default: dict[str, Any] = {"service": "web", "address": WEB, "in_fallback": False}
    return ServiceStatus(**{**default, **fields}, real_servers=servers or (server(RS1), server(RS2)))


def told(*services: ServiceStatus, name: str = HERE, **fields: Any) -> Told:
    """Return a director that is well. Fields are those of its daemon, of `DirectorValues`, or of `Told`."""
    of = {kind: {key: fields.pop(key) for key in [*fields] if key in kind.__struct_fields__} for kind in KINDS}
    daemon = DaemonStatus(
        **{
            "version": "0.9",
            "pid": 1,
            "mode": "enforce",
            "table": "IPVS",
            "started": LONG_AGO,
            "config_file": "c",
            "config_loaded": LONG_AGO,
            **of[DaemonStatus],
        }
    )
    director: dict[str, Any] = {
        "run": name,
        "at": NOW,
        "version": daemon.version,
        "sysctls": {"net.ipv4.ip_forward": "1", "net.ipv4.vs.drop_entry": "1"},
        "timeouts": TimeoutValues(tcp=900, tcp_fin=120, udp=300),
        "services": (ServiceConfiguration(service="web", address=WEB, settings={"scheduler": "wrr"}, checks="aa"),),
    }
    status = Status(daemon=daemon, services=services or (service(),))
    values = DirectorValues(**{**director, **of[DirectorValues]})
    return Told(**{"name": name, "status": status, "director": values, **fields})


KINDS = (DaemonStatus, DirectorValues)


def peer(*services: ServiceStatus, **fields: Any) -> Told:
    return told(*services, name="lvs2", **fields)


def only(own: Told, *others: Told | Unreached) -> Finding:
    found, _ = compare(own, others)
    assert len(found) == 1, found
    return found[0]


def note(own: Told, other: Told) -> str:
    """Return the only note, after seeing that nothing is found."""
    found, notes = compare(own, [other])
    assert found == []
    assert len(notes) == 1, notes
    return notes[0].text


def test_directors_that_are_alike_are_silent() -> None:
    assert compare(told(), [peer(), told(name="lvs3")]) == ([], [])


def test_a_director_that_does_not_answer() -> None:
    found = only(told(), Unreached(name="lvs2", url="http://lvs2:9880", error="Connection refused"))
    assert (found.name, found.command) == ("peer-unreached", "curl http://lvs2:9880/healthz")
    assert "Connection refused" in found.seen


def test_a_director_is_not_compared_with_itself() -> None:
    assert "is this director itself" in note(told(), peer(run=HERE, version="0.8"))


@pytest.mark.parametrize(("theirs", "on"), [("0.10", ""), ("0.8.1", "lvs2")])
def test_versions(theirs: str, on: str) -> None:
    found = only(told(version="0.9"), peer(version=theirs))
    assert (found.name, found.on, found.sureness) == ("peer-version", on, Sureness.CERTAIN)
    assert found.seen == f"version 0.9 here, {theirs} on lvs2"


def test_a_version_that_does_not_say_what_it_is_set_to_is_a_note() -> None:
    old = msgspec.structs.replace(peer(), director=None)
    assert note(told(), old) == "lvs2 has version 0.9, which does not say what it is set to: not all is compared"


def test_a_rejected_reload_of_another_director() -> None:
    found = only(told(), peer(config_error="config.toml:3: no"))
    assert (found.name, found.command, found.on) == ("peer-rejected", "lvs-healthd validate", "lvs2")


@pytest.mark.parametrize(("ahead_s", "word"), [(9.0, "ahead of"), (-9.0, "behind")])
def test_clocks(ahead_s: float, word: str) -> None:
    found = only(told(), peer(ahead_s=ahead_s, within_s=0.01))
    assert (found.name, found.on) == ("peer-clock", "lvs2")
    assert f"9.0s {word} that of this director" in found.seen


def test_a_clock_that_may_be_right_is_not_found() -> None:
    assert compare(told(), [peer(ahead_s=2.5, within_s=0.8)]) == ([], [])


def test_sysctls() -> None:
    found = only(told(), peer(sysctls={"net.ipv4.ip_forward": "0", "net.ipv4.vs.drop_entry": "1"}))
    assert (found.name, found.on) == ("peer-sysctl", "lvs2")
    assert found.seen == "net.ipv4.ip_forward is 1 here and 0 on lvs2"
    assert found.command.startswith("sysctl -w net.ipv4.ip_forward='1'")


def test_a_defence_that_the_kernel_has_turned_on_and_a_sysctl_of_another_kernel_are_no_difference() -> None:
    other = peer(sysctls={"net.ipv4.ip_forward": "1", "net.ipv4.vs.drop_entry": "2", "net.ipv4.vs.new": "1"})
    assert compare(told(), [other]) == ([], [])


def test_timeouts() -> None:
    found = only(told(), peer(timeouts=TimeoutValues(tcp=60, tcp_fin=120, udp=300)))
    assert (found.name, found.on) == ("peer-timeouts", "lvs2")
    assert found.command.startswith("ipvsadm --set 900 120 300")


@pytest.mark.parametrize(
    ("mine", "theirs", "seen", "on"),
    [
        ([MASTER], [msgspec.structs.replace(BACKUP, syncid=2)], "takes syncid 2", "lvs2"),
        ([MASTER], [msgspec.structs.replace(BACKUP, port=8849)], "port 8849", "lvs2"),
        ([MASTER], [], "nobody receives", "lvs2"),
        ([BACKUP], [], "nobody sends", "lvs2"),
        ([], [MASTER], "nobody receives", ""),
    ],
)
def test_sync_daemons_that_do_not_fit(mine: list[SyncValues], theirs: list[SyncValues], seen: str, on: str) -> None:
    found = only(told(sync=tuple(mine)), peer(sync=tuple(theirs)))
    assert (found.name, found.on) == ("peer-sync", on)
    assert seen in found.seen
    assert found.command.startswith("ipvsadm --st")


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ([MASTER], [BACKUP]),
        ([MASTER], [msgspec.structs.replace(BACKUP, syncid=0)]),
        ([MASTER, BACKUP], [MASTER, BACKUP]),
        ([], []),
    ],
)
def test_sync_daemons_that_fit(mine: list[SyncValues], theirs: list[SyncValues]) -> None:
    assert compare(told(sync=tuple(mine)), [peer(sync=tuple(theirs))]) == ([], [])


def test_sync_is_not_judged_while_a_director_is_missing() -> None:
    found, _ = compare(told(sync=(MASTER,)), [Unreached(name="lvs2", url="http://lvs2:1", error="no")])
    assert [each.name for each in found] == ["peer-unreached"]


def test_a_service_that_only_one_has() -> None:
    dns = service(service="dns", address="192.0.2.100:53/udp")
    found = only(told(service(), dns), peer())
    assert (found.name, found.service, found.why) == ("peer-service", "dns", "lvs2 does not serve its clients")
    assert found.command == "diff <(lvs-healthd validate --effective) <(ssh lvs2 lvs-healthd validate --effective)"
    assert only(told(), peer(service(), dns)).why == "it is not served here"


def test_settings_and_checks_of_a_service() -> None:
    config = ServiceConfiguration(service="web", address=WEB, settings={"persistence": "300"}, checks="aa")
    found = only(told(), peer(services=(config,)))
    assert found.name == "peer-settings"
    assert found.seen == (
        "persistence is the default here and 300 on lvs2; scheduler is wrr here and the default on lvs2"
    )
    config = ServiceConfiguration(service="web", address=WEB, settings={"scheduler": "wrr"}, checks="bb")
    assert only(told(), peer(services=(config,))).name == "peer-checks"


def test_servers_that_only_one_has_explain_why_the_checks_differ() -> None:
    config = ServiceConfiguration(service="web", address=WEB, settings={"scheduler": "wrr"}, checks="bb")
    found = only(told(), peer(service(server(RS2, weight_configured=3)), services=(config,)))
    assert (found.name, found.sureness) == ("peer-servers", Sureness.CERTAIN)
    assert found.seen == f"only here: {RS1}; {RS2} has weight 1 here and 3 on lvs2"


def test_servers_of_a_source_may_be_about_to_follow() -> None:
    source = SourceStatus(source="dns web.example.net", services=("web",), servers=2)
    found = only(told(sources=(source,)), peer(service(server(RS1))))
    assert (found.name, found.sureness) == ("peer-servers", Sureness.LIKELY)


def test_a_server_that_is_down_for_one_only() -> None:
    dead = server(RS1, verdict="down", reason="connection refused", weight_wanted=None, weight_actual=None)
    found = only(told(), peer(service(dead, server(RS2))))
    assert (found.name, found.sureness, found.on) == ("peer-verdict", Sureness.LIKELY, "lvs2")
    assert found.seen == f"{RS1} is down on lvs2 (connection refused) and up here, for 1h"
    assert found.command == f"lvs-healthd why 'web' {RS1}"
    assert only(told(service(dead, server(RS2))), peer()).on == ""


def test_a_server_that_has_just_gone_down_for_one_is_a_moment_s_difference() -> None:
    dead = server(RS1, verdict="down", reason="connection refused", weight_actual=None, since=NOW - 3)
    assert note(told(), peer(service(dead, server(RS2)))).endswith(
        "and up here, for 3s: it may be a moment's difference"
    )


def test_the_ages_of_verdicts_are_taken_by_the_clock_that_they_are_of() -> None:
    dead = server(RS1, verdict="down", reason="no", weight_actual=None, since=NOW - 500 - 3)
    found, notes = compare(told(), [peer(service(dead, server(RS2)), at=NOW - 500)])
    assert (found, len(notes)) == ([], 1)


def test_verdicts_of_a_standby_that_probes_nobody_are_a_note() -> None:
    dead = server(RS1, verdict="down", reason="no", weight_actual=None)
    waits = service(dead, server(RS2), role="standby", suspended=True, role_since=LONG_AGO)
    assert "nobody probes it on lvs2, which waits" in note(told(), peer(waits))


def test_another_weight_in_the_kernel_without_a_reason() -> None:
    found = only(told(), peer(service(server(RS1, weight_wanted=5, weight_actual=5), server(RS2))))
    assert (found.name, found.server, found.sureness) == ("peer-table", RS1, Sureness.CERTAIN)
    assert found.seen == f"{RS1} has weight 1 in the table here and weight 5 on lvs2"


AGENT = CheckStatus(name="agent", type="agent", verdict="up", reason="50%")


@pytest.mark.parametrize(
    ("fields", "of_service", "of_director", "why"),
    [
        ({}, {}, {"mode": "shadow"}, "shadow mode on lvs2"),
        ({}, {"held_by": "shadow"}, {}, "held by shadow on lvs2"),
        ({}, {"held_by": "brake"}, {}, "held by brake on lvs2"),
        ({}, {"suspended": True, "role": "standby"}, {}, "it waits, and probes nobody, on lvs2"),
        ({}, {"in_fallback": True}, {}, "the fallback serves on lvs2"),
        ({}, {"below": "fail_open"}, {}, "below min_up (fail_open) on lvs2"),
        ({"checks": (AGENT,)}, {}, {}, "its agent says so on lvs2"),
        ({"weight_wanted": 1}, {}, {}, "not written yet on lvs2"),
        ({"state": "damped"}, {}, {}, "damped on lvs2"),
        ({"since": NOW - 10}, {}, {"ramp": "30"}, "slow start on lvs2"),
    ],
)
def test_another_weight_in_the_kernel_that_is_meant_is_named(
    fields: dict[str, Any], of_service: dict[str, Any], of_director: dict[str, Any], why: str
) -> None:
    other = server(RS1, **{"weight_wanted": 0, "weight_actual": 0, **fields})
    ramp = of_director.pop("ramp", "60")
    config = ServiceConfiguration(service="web", address=WEB, settings={"slow_start": ramp}, checks="aa")
    found, notes = compare(
        told(services=(config,)), [peer(service(other, server(RS2), **of_service), services=(config,), **of_director)]
    )
    assert found == []
    assert any(each.text.endswith(why) for each in notes), notes


def test_a_ramp_that_is_over_explains_nothing() -> None:
    other = server(RS1, weight_wanted=0, weight_actual=0, since=NOW - 40)
    config = ServiceConfiguration(service="web", address=WEB, settings={"slow_start": "30"}, checks="aa")
    found = only(told(services=(config,)), peer(service(other, server(RS2)), services=(config,)))
    assert found.name == "peer-table"


def test_a_veto_explains_a_weight() -> None:
    dead = {"verdict": "down", "weight_wanted": 1, "weight_actual": 1}
    veto = VetoStatus(service="web", server=RS1, reason="1 of 2", since=NOW, until=NOW + 300)
    agreement = AgreementStatus(director="lvs2", agree=2, heard=1, directors=(), vetoes=(veto,), vetoed=1, error="")
    own = told(service(server(RS1, **{**dead, "weight_wanted": None, "weight_actual": None}), server(RS2)))
    assert "a veto on lvs2" in note(own, peer(service(server(RS1, **dead), server(RS2)), agreement=agreement))


def test_what_is_drained_on_one_only_is_named() -> None:
    drained = server(RS1, weight_wanted=0, weight_actual=0, state="drained", override="drained by root: disk")
    found, notes = compare(told(), [peer(service(drained, server(RS2)))])
    assert found == []
    assert f"{RS1}, on lvs2 only: drained by root: disk" in [each.text for each in notes]


def test_an_address_that_two_have() -> None:
    active = service(role="active", vip="192.0.2.100", role_since=LONG_AGO)
    found = only(told(active), peer(active))
    assert (found.name, found.seen) == ("peer-both-active", "192.0.2.100 is here and on lvs2")


def test_an_address_that_nobody_has() -> None:
    waits = service(role="standby", vip="192.0.2.100", role_since=LONG_AGO)
    assert only(told(waits), peer(waits)).name == "peer-none-active"
    active = service(role="active", vip="192.0.2.100", role_since=LONG_AGO)
    assert compare(told(waits), [peer(waits), told(active, name="lvs3")]) == ([], [])


def test_a_takeover_of_this_moment_is_no_trouble() -> None:
    active = service(role="active", vip="192.0.2.100", role_since=NOW - 2)
    waits = service(role="standby", vip="192.0.2.100", role_since=NOW - 2)
    assert compare(told(active), [peer(active)]) == ([], [])
    assert compare(told(waits), [peer(waits)]) == ([], [])


def announced(*, wanted: bool | None) -> AnnounceStatus:
    return AnnounceStatus(
        vip="192.0.2.100", interface="lvs0", services=("web",), wanted=wanted, present=wanted, reason="nobody serves"
    )


def test_an_address_that_nobody_announces() -> None:
    gone = (announced(wanted=False),)
    assert only(told(announced=gone), peer(announced=gone)).name == "peer-none-announces"
    assert compare(told(announced=gone), [peer(announced=(announced(wanted=True),))]) == ([], [])


def test_only_the_chosen_service_is_compared() -> None:
    dead = server(RS1, verdict="down", reason="no", weight_actual=None)
    own, other = told(), peer(service(dead, server(RS2)))
    assert [each.name for each in compare(own, [other], services_named(["web"]))[0]] == ["peer-verdict"]
    assert compare(own, [other], services_named(["dns"])) == ([], [])


@pytest.mark.parametrize(
    ("word", "url"),
    [
        ("lvs2", "http://lvs2:9880"),
        ("lvs2:80", "http://lvs2:80"),
        ("[2001:db8::2]:9880", "http://[2001:db8::2]:9880"),
        ("http://lvs2", "http://lvs2:80"),
        ("https://lvs2/", "https://lvs2:443"),
    ],
)
def test_words_that_mean_a_director(word: str, url: str) -> None:
    assert url_of(word) == url


@pytest.mark.parametrize("word", ["", "ftp://lvs2", "lvs2:x", "lvs2/metrics", "root@lvs2", "http://"])
def test_words_that_mean_no_director(word: str) -> None:
    with pytest.raises(WrongUrlError):
        url_of(word)
