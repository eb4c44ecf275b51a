"""The `[fleet]` table: what several directors share through etcd. Its keys, and what does not fit together."""

import re
import urllib.parse
from collections.abc import Iterable

from lvs_healthd.config import hook_values, secret_files, tls_values, values
from lvs_healthd.config.basics import canonical_address
from lvs_healthd.config.errors import Errors, Problem, WrongValueError, expected, show
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import Service
from lvs_healthd.config.schema import Key, TomlTable, read_table
from lvs_healthd.config.shapes import shaped

_PREFIX = re.compile(r"/[\x21-\x7e]*")


@shaped("the URL of an etcd server, with its port", type="string", pattern="^https?://")
def _endpoint(value: object) -> str:
    """Parse the URL of a server. Return it without a slash at its end."""
    text = values.string(value)
    error = expected('a URL with a port, such as "https://etcd1.example.net:2379"', value)
    if not text.isprintable() or " " in text:
        raise error
    try:
        parts = urllib.parse.urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not parts.port:
            raise error
    except ValueError:
        raise error from None
    if "@" in parts.netloc:
        # The text may be shown to others, and the secret with it.
        raise WrongValueError(Problem((), "expected a URL without a password; write user and password_file"))
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise error
    return f"{parts.scheme}://{parts.netloc}"


@shaped('a prefix such as "/lvs-healthd/"', type="string", pattern="^/")
def _prefix(value: object) -> str:
    """Parse how keys begin. Return it with a slash at its end."""
    text = values.string(value)
    if not _PREFIX.fullmatch(text):
        raise expected('a prefix that begins with a slash, without blanks, such as "/lvs-healthd/"', value)
    return text if text.endswith("/") else f"{text}/"


MOST_AGREE = 100

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@shaped("1 to 64 letters, digits, dots, - and _", type="string", pattern="^[A-Za-z0-9._-]{1,64}$")
def _name(value: object) -> str:
    """Parse the name of a director, which is a part of the name of its key."""
    text = values.string(value)
    if not _NAME.fullmatch(text):
        raise expected('a name such as "lvs1": 1 to 64 letters, digits, dots, "-" and "_"', value)
    return text


FLEET_KEYS = {
    "store": Key(values.one_or_more(_endpoint)),
    "prefix": Key(_prefix),
    "ca": Key(tls_values.ca_file),
    "user": Key(hook_values.user),
    "password_file": Key(secret_files.password_file),
    "agree": Key(values.integer(1, MOST_AGREE)),
    "name": Key(_name),
}

PATH: KeyPath = ("fleet",)

_OF_THE_STORE = ("prefix", "ca", "user", "password_file", "agree", "name")
"""The keys that do nothing without the store."""


def read_fleet(written: object, errors: Errors) -> Fleet:
    """Read the `[fleet]` table. Errors and remarks are added to `errors`."""
    table = read_table(written, PATH, FLEET_KEYS, errors)
    fleet = Fleet(**table.values)
    if not table.is_wrong("store"):
        _validate(fleet, table, errors)
    return fleet


def _validate(fleet: Fleet, table: TomlTable, errors: Errors) -> None:
    if not fleet.store:
        for key in _OF_THE_STORE:
            if key in table:
                errors.add(table.at(key), 'this does nothing without store: store = "https://etcd1.example.net:2379"')
        return
    if fleet.user and not fleet.password_file and not table.is_wrong("password_file"):
        errors.add(table.at("user"), 'password_file is missing: password_file = "/etc/lvs-healthd/etcd-password"')
    if fleet.password_file and not fleet.user and not table.is_wrong("user"):
        errors.add(table.at("password_file"), 'user is missing: user = "director"')
    plain = [url for url in fleet.store if url.startswith("http:")]
    if fleet.ca and len(plain) == len(fleet.store):
        errors.add(table.at("ca"), "this does nothing without a URL that begins with https://")
    for url in plain:
        if not _is_here(url):
            errors.remark(
                table.at("store"),
                f"whoever is on the way to {url} can read the password and change services; use https://",
            )


def validate_sources(fleet: Fleet, services: Iterable[Service], errors: Errors) -> None:
    """Add an error if a service has servers from etcd, and there is no etcd."""
    for service in services:
        if not fleet.store and any(source.etcd for source in service.sources):
            errors.add(
                (),
                f"service {show(service.name)} has servers from etcd; say where it is, below [fleet]: "
                'store = "https://etcd1.example.net:2379"',
            )


def _is_here(url: str) -> bool:
    """Return whether a URL leads to this host itself."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        address = canonical_address(host)
    except ValueError:
        return host == "localhost"
    return address.startswith("127.") or address == "::1"
