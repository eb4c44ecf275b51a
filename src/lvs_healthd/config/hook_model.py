"""The records of hooks, who is told of what happens and how; their defaults, and the reason for each default."""

import enum

import msgspec

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Per


class HookConvention(enum.StrEnum):
    """How a hook is told of an event.

    `json`: one JSON object. `mon`: as mon calls an alert, with its arguments, input and variables. `keepalived`: a
    command without more arguments, as keepalived runs notify scripts, or a line of its FIFO.
    """

    JSON = "json"
    MON = "mon"
    KEEPALIVED = "keepalived"


class MailTls(enum.StrEnum):
    """How mail is protected on its way to the relay.

    `auto`: with STARTTLS if the relay offers it, whatever its certificate says (RFC 7435). `starttls` and `tls`: only
    with a valid certificate, `tls` from the first byte. `none`: never.
    """

    AUTO = "auto"
    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """Where a hook sends mail."""

    to: tuple[str, ...]
    """The addresses that get the mail. Required."""
    sender: str
    """The address that it comes from, written in the file as `from`. Required."""
    relay: str = "127.0.0.1:25"
    """Name or address of the mail server, and its port. Most hosts have one of their own."""
    tls: MailTls = MailTls.AUTO
    user: str = ""
    """Who to authenticate as; "": nobody."""
    password_file: str = ""
    """File with the password of `user`."""


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is told of events. Exactly one of `command`, `url`, `mail` and `fifo` is there."""

    name: str
    """Unique name for the log and the metrics. Default: the program's name, the host of `url`, "mail" or "fifo"."""
    on: tuple[str, ...] = ()
    """Names of events, perhaps with wildcards. Default: the changes that somebody may have to act on, or what the
    convention has words for."""
    events: frozenset[str] = frozenset()
    """The names of the events that `on` means. The file has no such key."""
    services: tuple[str, ...] = ("*",)
    """Names of services, perhaps with wildcards. An event about no service is told only with the default."""
    servers: tuple[str, ...] = ("*",)
    """Addresses and ports of servers, perhaps with wildcards. An event about no server is told only with the
    default."""
    checks: tuple[str, ...] = ("*",)
    """Names of checks, perhaps with wildcards. An event about no check is told only with the default."""
    command: tuple[str, ...] = ()
    """A program and its arguments, which gets the event on its standard input."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that the program gets beside the usual ones, written in the file as a table."""
    url: str = ""
    """A webhook, which gets the event by POST."""
    secret_file: str = ""
    """The file with the key that signs what is posted to `url`."""
    ca: str = ""
    """Trusted certificates for `url` and `mail`. "": the system's."""
    mail: Mail | None = None
    """Somebody who gets mail: a table of its own."""
    fifo: str = ""
    """A named pipe that takes lines. It is made unless it is there."""
    convention: HookConvention = HookConvention.JSON
    every: Seconds = Seconds(0.0)
    """What happens within this time of the first event is told together; 0: each event by itself. Default for mail:
    30s, because nobody reads a thousand mails."""
    timeout: Seconds = Seconds(10.0)
    """How long a program, a request or a delivery may take. Scripts that tell others take a second or two."""
    per: Per = Per.SERVER
    """With the convention mon: whether `-h` names the server, or all servers of the service."""
    repeat: Seconds = Seconds(0.0)
    """With the convention mon: how often to tell again of a server that stays down; 0: never."""
    most: int = 0
    """With the convention mon: how often to tell of one failure at most; 0: no limit."""
    exit_status: tuple[tuple[int, int], ...] = ()
    """With the convention mon: for which exit statuses of the monitor, ranges; empty: for all."""
    mon_group: str = ""
    """What mon calls the servers. Default: the service's name."""
    mon_service: str = ""
    """What mon calls the check. Default: the check's name."""
    in_shadow: bool = False
    """Whether to tell of what is only decided and not written. Not by default, because the programs that still decide
    tell of it themselves."""
