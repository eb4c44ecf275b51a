"""Makes the checks of each real server of a virtual (`_check_real` of ldirectord)."""

from collections.abc import Callable, Sequence

from lvs_healthd.importers.ldirectord.ldap import ldap
from lvs_healthd.importers.ldirectord.mail import imap, nntp, pop, smtp
from lvs_healthd.importers.ldirectord.others import connect, dns, ping, simpletcp, sip
from lvs_healthd.importers.ldirectord.programs import external, external_perl, ftp, radius, sql
from lvs_healthd.importers.ldirectord.records import Real, Virtual
from lvs_healthd.importers.ldirectord.subject import AskError, Check, Findings, Subject
from lvs_healthd.importers.ldirectord.timing import Timing
from lvs_healthd.importers.ldirectord.web import proxy, web

_SERVICES: dict[str, Callable[[Subject], Check]] = {
    "dns": dns,
    "ftp": ftp,
    "http": web,
    "https": web,
    "http_proxy": proxy,
    "imap": imap,
    "imaps": imap,
    "ldap": ldap,
    "ldaps": ldap,
    "mysql": sql,
    "nntp": nntp,
    "oracle": sql,
    "pgsql": sql,
    "pop": pop,
    "pops": pop,
    "radius": radius,
    "simpletcp": simpletcp,
    "sip": sip,
    "smtp": smtp,
    "submission": smtp,
}

_TYPES: dict[str, Callable[[Subject], Check]] = {
    "connect": connect,
    "external": external,
    "external-perl": external_perl,
    "ping": ping,
}

_WITH_CHECK_TIMEOUT = frozenset({"ldap", "ldaps", "radius"})
"""The services whose negotiate checks have `checktimeout`, and not `negotiatetimeout`, for the whole."""

_WITHOUT_TIMEOUT = frozenset({"mysql", "pgsql"})
"""The services whose negotiate checks have no timeout at all."""

_HURRIED = frozenset({"http", "https", "tcp"})
"""The types of checks that hurry in doubt unless they are told not to (`fast_interval`)."""


def checks_of(virtual: Virtual, servers: Sequence[Real], timing: Timing, findings: Findings) -> list[list[Check]]:
    """Return the checks of each real server, each with the port that is probed, if it has one.

    Raises `AskError` when it is not known which checks to write.
    """
    return [_server_checks(Subject(virtual, real, timing, findings), timing) for real in servers]


def check_type(virtual: Virtual) -> str:
    """Return the checktype of a virtual: a word, or the number of connects between two negotiates."""
    return virtual.text("checktype", "negotiate")


def _server_checks(subject: Subject, timing: Timing) -> list[Check]:
    kind = check_type(subject.virtual)
    subject.use(subject.virtual.settings.get("checktype"))
    for _, setting in (timing.interval, timing.failures):
        subject.use(setting)
    interval_s, fall = timing.interval[0], timing.failures[0]
    if kind == "on":
        raise AskError('checktype=on checks nothing: choose a check such as check = "tcp"')
    if kind == "negotiate":
        return [_negotiate(subject, interval_s, fall)]
    if not kind.isdecimal():
        return [_other(subject, kind, interval_s, fall)]
    return _combined(subject, int(kind), interval_s, fall)


def _negotiate(subject: Subject, interval_s: int, fall: int) -> Check:
    service = subject.virtual.service
    subject.use(subject.virtual.settings.get("service"))
    build = _SERVICES.get(service)
    if build is None:
        raise AskError(_nothing_is_checked(subject.virtual))
    port = subject.port
    check = build(subject)
    timeout_s = subject.check_timeout_s if service in _WITH_CHECK_TIMEOUT else subject.negotiate_timeout_s
    if service in _WITHOUT_TIMEOUT:
        subject.note("service", f"ldirectord waits for {service} without end; here the check has {timeout_s} s")
    return _timed(check | {"port": port}, interval_s, timeout_s, fall)


def _nothing_is_checked(virtual: Virtual) -> str:
    advice = 'check = { type = "http", path = "/" }' if "request" in virtual.settings else 'check = "tcp"'
    why = "the port of the virtual is none that it knows" if virtual.mark is None else "the default for a firewall mark"
    why = "as written" if "service" in virtual.settings else why
    return (
        f"ldirectord checks nothing here: service=none ({why}) finds every server up, and request and receive are not "
        f"used. Choose a check such as {advice}"
    )


def _other(subject: Subject, kind: str, interval_s: int, fall: int) -> Check:
    check = _TYPES[kind](subject)
    if check["type"] == "ping":
        return _ping(subject, check, interval_s, fall)
    if check["type"] == "exec":
        check["port"] = subject.real.port
    else:
        check["port"] = subject.port
    return _timed(check, interval_s, subject.check_timeout_s, fall)


def _ping(subject: Subject, check: Check, interval_s: int, fall: int) -> Check:
    """Add the times of pings. Several pings that are lost one after another are one failure of ldirectord."""
    pings, timeout_s = subject.pings, subject.check_timeout_s
    timed = _timed(check, interval_s, timeout_s, fall * pings)
    if pings > 1:
        timed["fast_interval"] = _seconds(timeout_s)
        text = f"{pings} pings in each check: here {fall * pings} in succession take a server out"
        subject.note("checkcount", text)
    return timed


def _combined(subject: Subject, connects: int, interval_s: int, fall: int) -> list[Check]:
    """Return the checks of checktype=N: N rounds of connects after each round with a negotiate that passes.

    A negotiate that fails is repeated in each round.
    """
    if subject.virtual.service == "none":
        raise AskError(
            f"checktype={connects} with service=none finds a dead server up in every other round: choose a check such "
            'as check = "tcp"'
        )
    negotiate = _negotiate(subject, interval_s, fall)
    every = (connects + 1) * interval_s
    negotiate |= {"interval": _seconds(every), "fast_interval": _seconds(interval_s)}
    negotiate.setdefault("name", subject.virtual.service)
    negotiate["down_interval"] = _seconds(interval_s)
    text = f"as two checks: a connect each {interval_s} s, and a negotiate each {every} s; both must pass"
    if subject.virtual.protocol == "udp":  # connecting a socket of udp always succeeds
        subject.note("checktype", f"a connect over udp finds nothing out, so there is one check, each {every} s")
        return [negotiate]
    subject.note("checktype", text)
    connect_check: Check = {"type": "tcp", "name": "connect", "port": subject.port}
    return [_timed(connect_check, interval_s, subject.check_timeout_s, fall), negotiate]


def _timed(check: Check, interval_s: int, timeout_s: int, fall: int) -> Check:
    """Add the times and counts to a check. ldirectord never hurries, and one pass brings a server back."""
    times = {"interval": _seconds(interval_s), "timeout": _seconds(timeout_s), "rise": 1, "fall": fall}
    if fall > 1 and check["type"] in _HURRIED | {"smtp"}:
        times["fast_interval"] = _seconds(interval_s)
    return check | times


def _seconds(number: int) -> str:
    return f"{number}s"
