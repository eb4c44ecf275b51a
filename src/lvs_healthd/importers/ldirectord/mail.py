"""Checks of smtp, submission, pop, pops, imap, imaps and nntp, as ldirectord and its Perl modules do them."""

from lvs_healthd.importers.ldirectord.servers import SERVICE_PORTS
from lvs_healthd.importers.ldirectord.subject import AskError, Check, Subject

_POP_OK = r"\A\+OK[^\n]*\n"


def smtp(_subject: Subject) -> Check:
    """Return the check of a server of smtp or submission: a greeting and an answer to EHLO, no STARTTLS."""
    return {"type": "smtp"}


def nntp(_subject: Subject) -> Check:
    """Return the check of a news server: its greeting begins with 2."""
    return {"type": "tcp", "name": "nntp", "expect_regex": r"\A2"}


def pop(subject: Subject) -> Check:
    """Return the check of a server of pop or pops: a login."""
    service = subject.virtual.service
    login = subject.text("login")
    if login and subject.virtual.is_v6:
        raise AskError(
            f"service={service} reaches no IPv6 address (Mail::POP3Client), so these servers never come up: choose a "
            'check such as check = "pop3"'
        )
    if not login:
        kind = f"verify = false, steps = [{{ starttls = true }}, {{ expect_regex = '{_POP_OK}' }}]"
        check = '"pop3"' if service == "pop" else f'{{ type = "tcp", {kind} }}'
        raise AskError(
            f"service={service} without login finds every server up, also one that is off (Mail::POP3Client reports no "
            f"error): choose a check such as check = {check}"
        )
    steps: list[Check] = [
        {"expect_regex": _POP_OK},
        {"send": f"USER {login}\r\n"},
        {"expect_regex": _POP_OK},
        {"send": f"PASS {subject.text('passwd')}\r\n"},
        {"expect_regex": _POP_OK},
        {"send": "QUIT\r\n"},
    ]
    if service == "pops":
        steps.insert(0, {"starttls": True})
        _note_on_certificates(subject)
    return {"type": "tcp", "name": service, "steps": steps}


def imap(subject: Subject) -> Check:
    """Return the check of a server of imap or imaps: a greeting, and a login if there is one.

    Net::IMAP::Simple goes to the service's own port if the server is an IPv4 address, and reaches no IPv6 address.
    """
    service, virtual = subject.virtual.service, subject.virtual
    advice = '"imap"' if service == "imap" else '{ type = "tcp", steps = [{ starttls = true }, { expect = "* OK" }] }'
    if virtual.is_v6:
        raise AskError(
            f"service={service} reaches no IPv6 address (Net::IMAP::Simple), so these servers never come up: choose a "
            f"check such as check = {advice}"
        )
    port = SERVICE_PORTS[service]
    if subject.port != port:
        raise AskError(
            f"service={service} goes to port {port}, although the file says {subject.port} (Net::IMAP::Simple takes no "
            f"port beside an IPv4 address): which one was meant? Write checkport={port}, or choose a check such as "
            f"check = {advice}"
        )
    steps: list[Check] = [{"expect_regex": r"\A\* (?:OK|PREAUTH)[^\n]*\n"}]
    login = subject.text("login")
    if login:
        words = f"{_imap_string(login)} {_imap_string(subject.text('passwd'))}"
        steps += [{"send": f"a LOGIN {words}\r\n"}, {"expect_regex": r"(?m)^a OK[^\n]*\n"}]
    steps.append({"send": "z LOGOUT\r\n"})
    if service == "imaps":
        steps.insert(0, {"starttls": True})
        _note_on_certificates(subject)
    return {"type": "tcp", "name": service, "steps": steps}


def _imap_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _note_on_certificates(subject: Subject) -> None:
    """Say what the Perl modules verify in TLS: the chain, and the name that they connect to, which is the address."""
    subject.note(
        "service",
        f"ldirectord verifies the certificate of {subject.virtual.service}, which must hold the server's address; so "
        "does this check. Write sni for a name, or verify = false for none",
    )
