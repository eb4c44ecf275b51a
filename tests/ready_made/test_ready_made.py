"""Every ready-made check loads, is documented, and passes for no server of another kind."""

from pathlib import Path

import pytest

from lvs_healthd.config.check_model import HttpsCheck
from tests.ready_made.checks import ready_made
from tests.ready_made.conftest import Tried

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "checks").glob("*.toml"))

SILENT = ("syslog",)
"""These only connect, so any server passes."""

SECURED = tuple(name for name in NAMES if isinstance(ready_made(name, 1), HttpsCheck))


def test_ready_made_checks_are_these() -> None:
    databases = {"redis", "memcached", "mysql", "postgres", "pgbouncer", "etcd", "zookeeper", "nats", "beanstalkd"}
    mail_and_logins = {"smtp", "submission", "imap", "pop3", "ftp", "ssh", "samba", "rdp", "ldap", "ldap-rootdse"}
    files_and_news = {"tftp", "nntp"}
    names_and_time = {"dns-resolver", "ntp", "snmp", "syslog"}
    messages = {"sip", "coap", "mqtt", "amqp"}
    web = {"haproxy", "nginx", "varnish", "kubernetes-readyz"}
    assert {*NAMES} == databases | mail_and_logins | files_and_news | names_and_time | messages | web


@pytest.mark.parametrize("name", NAMES)
def test_every_ready_made_check_loads_and_is_documented(name: str) -> None:
    assert ready_made(name, 1).name == name
    assert f"`{name}`" in (ROOT / "docs" / "checks.md").read_text()


@pytest.mark.parametrize("name", sorted({*NAMES} - {*SILENT, *SECURED}))
def test_server_of_another_kind_is_down(tried: Tried, name: str) -> None:
    tried.strangers(ready_made(name, 1))
