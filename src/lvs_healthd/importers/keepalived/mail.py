"""Reads what keepalived says of its mails: to whom, by which server, and about what.

Sources: keepalived 2.2.7, `smtp_alert` of core/smtp.c and `validate_check_config` of check/check_data.c.
"""

import socket

from lvs_healthd.config import hook_values
from lvs_healthd.config.errors import WrongValueError
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.records import Configuration, RealServer, VirtualServer
from lvs_healthd.importers.keepalived.told import MissingWordError, Told
from lvs_healthd.importers.keepalived.words import Invalid, number

_PORT = 25
_MOST_TIMEOUT_S = 600
"""The longest timeout of a hook, seconds."""

_ABOUT_CHECKS = ("smtp_alert", "smtp_alert_checker")
KEYWORDS = frozenset(
    [
        *("notification_email", "notification_email_from", "smtp_server", "smtp_connect_timeout", "no_checker_emails"),
        *_ABOUT_CHECKS,
    ]
)
"""The keywords of global_defs that are read here."""

_NO_MAIL = "keepalived sends no mail about servers here: it needs notification_email and smtp_server"


def read_mail(told: Told, node: Node, configuration: Configuration) -> None:
    """Read a line of global_defs. What becomes of it is told once all is read."""
    mail = configuration.mail
    try:
        value = _value(told, node)
    except MissingWordError:
        return
    mail.nodes.append(node)
    if node.keyword == "notification_email":
        mail.to += [word for child in node.nodes for word in (child.keyword, *child.words)]
    elif node.keyword == "notification_email_from":
        mail.sender = value
    elif node.keyword == "smtp_server":
        port = node.words[1] if len(node.words) > 1 else str(_PORT)
        mail.relay = f"[{value}]:{port}" if ":" in value else f"{value}:{port}"
    elif node.keyword == "smtp_connect_timeout":
        mail.timeout_s = _seconds(told, node, value)
    elif node.keyword in _ABOUT_CHECKS:
        mail.defaults[node.keyword] = told.switch(node)


def _value(told: Told, node: Node) -> str:
    return "" if node.keyword in {"notification_email", "no_checker_emails", *_ABOUT_CHECKS} else told.word(node)


def _seconds(told: Told, node: Node, word: str) -> int:
    found = number(word, 1, _MOST_TIMEOUT_S)
    if isinstance(found, Invalid):
        told.dropped(node, f"a timeout is 1s to {_MOST_TIMEOUT_S}s here")
        return 0
    return found.value or 0


def complete_mail(told: Told, configuration: Configuration) -> None:
    """Decide which servers mails are about, and tell what becomes of the lines about mails."""
    mail = configuration.mail
    mail.is_sent = bool(mail.to and mail.relay) and _is_usable(told, configuration)
    given = [mail.defaults[key] for key in ("smtp_alert_checker", "smtp_alert") if mail.defaults.get(key) is not None]
    for found in configuration.servers:
        if found.smtp_alert is None:
            found.smtp_alert = bool(given[0]) if given else False
        for server in found.servers:
            if server.smtp_alert is None:
                server.smtp_alert = bool(given[0]) if given else True
    every: list[VirtualServer | RealServer] = [*configuration.servers]
    every += [server for found in configuration.servers for server in found.servers]
    mail.is_sent = mail.is_sent and any(each.smtp_alert for each in every)
    if not (mail.to and mail.relay):
        for node in (child for each in every for child in each.node.nodes if child.keyword == "smtp_alert"):
            _ignored(told, node)
    for node in mail.nodes:
        _tell(told, node, configuration)


def _is_usable(told: Told, configuration: Configuration) -> bool:
    """Return whether a hook can send these mails. What it cannot use is told."""
    mail = configuration.mail
    if not mail.sender:
        mail.sender = f"keepalived@{socket.gethostname()}"
        mail.is_sender_made = True
    ways = {"notification_email": hook_values.mailboxes, "notification_email_from": hook_values.mailbox}
    values: dict[str, object] = {"notification_email": mail.to, "notification_email_from": mail.sender}
    values["smtp_server"] = mail.relay
    for keyword, parse in {**ways, "smtp_server": hook_values.relay}.items():
        try:
            parse(values[keyword])
        except WrongValueError as error:
            for node in mail.nodes:
                if node.keyword == keyword:
                    told.dropped(node, f"{error}; write a [[hook]] with mail (docs/hooks.md)")
            return False
    return True


def _tell(told: Told, node: Node, configuration: Configuration) -> None:
    mail = configuration.mail
    if not (mail.to and mail.relay):
        _ignored(told, node)
    elif not mail.is_sent:
        told.dropped(node, "no mail is sent about servers; for others it stays with keepalived")
    elif node.keyword == "notification_email":
        told.carried(node)
        for child in node.nodes:
            told.carried(child)
        if mail.is_sender_made:
            told.noted(node, f"keepalived makes its sender from the host's name; {mail.sender} is written: look at it")
    elif node.keyword == "no_checker_emails":
        told.noted(node, "not needed: a mail is about a server, and not about each of its checks")
    else:
        told.carried(node)


def _ignored(told: Told, node: Node) -> None:
    place, *more = node.places()
    told.account.ignored(place, _NO_MAIL, *more)
