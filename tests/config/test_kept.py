"""`connection = "keep"`: its keys, what it does not go with, and the ready-made checks that refuse it."""

from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config import readymade
from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpCheck, HttpsCheck, Kept, kept
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import ConfigError, parse
from lvs_healthd.config.readymade import Shelf
from lvs_healthd.probes.exchange import Keeping
from lvs_healthd.probes.targets import LISTENER_S, target
from tests.config.reading import read, service

KEEP = '[defaults.check]\nconnection = "keep"\n'
SILENT = 'description = "It greets."\ntype = "tcp"\nport = 25\n'
REASON = "it counts silent clients as attackers"


def of(*, reconnect: float = 60.0, confirm_interval: float = 0.05) -> Kept:
    return Kept(reconnect=Seconds(reconnect), confirm_interval=Seconds(confirm_interval))


def how(check: str, *, defaults: str = "", shelf: Path | None = None) -> Kept | None:
    directories = None if shelf is None else [shelf]
    text = defaults + service(check=check)
    (loaded,) = parse(text, "c.toml", checks_dirs=directories).services[0].real_servers[0].checks
    return kept(loaded)


def errors(check: str, *, defaults: str = "", shelf: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        how(check, defaults=defaults, shelf=shelf)
    return [error.partition(": check.")[2] or error for error in caught.value.errors]


def keeping(check: str) -> Keeping | None:
    (loaded,) = read(service(check=check)).services[0].real_servers[0].checks
    return target(loaded).keeping


@pytest.mark.parametrize("kind", ["http", "https", "tcp"])
def test_connection_is_new_unless_it_is_said(kind: str) -> None:
    assert how(f'"{kind}"') is None
    assert how(f'{{ type = "{kind}", connection = "new" }}') is None
    assert how(f'{{ type = "{kind}", connection = "keep" }}') == of(reconnect=60.0, confirm_interval=0.05)
    keys = 'connection = "keep", reconnect = "5s", confirm_interval = "1s"'
    assert how(f'{{ type = "{kind}", {keys} }}') == of(reconnect=5.0, confirm_interval=1.0)


@pytest.mark.parametrize("kind", ["udp", "grpc", "ping"])
def test_other_types_have_no_such_key(kind: str) -> None:
    assert errors(f'{{ type = "{kind}", connection = "keep" }}') == [
        f"connection: {kind} checks have no such key; it belongs to http, https and tcp checks; leave it out"
    ]


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ('connection = "kept"', 'connection: expected new or keep, got "kept"; did you mean "keep"?'),
        ('reconnect = "5s"', 'reconnect: this check has a new connection for each probe; add connection = "keep"'),
        (
            'connection = "new", confirm_interval = "1s"',
            'confirm_interval: this check has a new connection for each probe; add connection = "keep"',
        ),
        ('connection = "keep", reconnect = "1ms"', 'reconnect: expected a duration from 1s to 24h, got "1ms"'),
        (
            'connection = "keep", confirm_interval = "1ms"',
            'confirm_interval: expected a duration from 50ms to 24h, got "1ms"',
        ),
        (
            'connection = "keep", http_version = "1.0"',
            'connection: over HTTP/1.0 each answer ends its connection; write http_version = "1.1", or leave it out',
        ),
        (
            'connection = "keep", websocket = true',
            'connection: the probe of a WebSocket ends its connection; write connection = "new"',
        ),
        (
            'connection = "keep", requests = [{ path = "/" }]',
            'connection: the requests of one probe share a connection already; write connection = "new"',
        ),
    ],
)
def test_what_makes_no_sense_is_an_error_that_says_what_to_write(keys: str, error: str) -> None:
    assert errors(f'{{ type = "http", {keys} }}') == [error]


def test_probe_of_the_data_path_keeps_no_connection() -> None:
    (error,) = errors('[{ type = "tcp" }, { type = "http", name = "path", through = "vip", connection = "keep" }]')
    assert error.startswith('c.toml:4: service "web": check[1].connection: a kept connection goes to the server that')


def test_default_is_inherited_by_http_and_https_only() -> None:
    assert how('"http"', defaults=KEEP) == how('"https"', defaults=KEEP) == Kept()
    assert how('{ type = "http", connection = "new" }', defaults=KEEP) is None
    assert how('"tcp"', defaults=KEEP) is None
    assert how('"redis"', defaults=KEEP) is None
    assert how('"haproxy"', defaults=KEEP) == Kept()
    assert how('{ type = "tcp", connection = "keep" }', defaults=KEEP) == Kept()
    assert how('"http"', defaults=KEEP + 'reconnect = "7s"\n') == of(reconnect=7.0)
    # A default for those that keep their connection means nothing to others.
    assert how('"http"', defaults='[defaults.check]\nreconnect = "7s"\n') is None


def test_real_server_may_have_another() -> None:
    servers = '[{ address = "198.51.100.11", check = { connection = "new" } }, "198.51.100.12"]'
    text = service(check='{ type = "http", connection = "keep", reconnect = "7s" }', servers=servers)
    one, other = (each.checks[0] for each in read(text).services[0].real_servers)
    assert (kept(one), kept(other)) == (None, of(reconnect=7.0))


def test_it_is_shown() -> None:
    text = to_toml(read(service(check='{ type = "http", connection = "keep", reconnect = "7s" }')))
    assert 'connection = "keep"' in text
    assert 'reconnect = "7s"' in text
    assert 'confirm_interval = "50ms"' in text
    assert kept(read(text).services[0].real_servers[0].checks[0]) == of(reconnect=7.0)
    plain = to_toml(read(service(check='"http"')))
    assert 'connection = "new"' in plain
    assert "reconnect" not in plain


def test_listener_is_seen_every_ten_seconds_or_so() -> None:
    plain = keeping('{ type = "http", connection = "keep", fall = 5, interval = "3s" }')
    assert plain == Keeping(3.0, LISTENER_S, 0.05, 4)
    assert keeping('{ type = "http", connection = "keep", reconnect = "5s" }') == Keeping(2.0, 5.0, 0.05, 2)
    assert keeping('{ type = "https", connection = "keep" }') == Keeping(2.0, 60.0, 0.05, 2, look_s=LISTENER_S)
    assert keeping('{ type = "https", connection = "keep", reconnect = "9s" }') == Keeping(2.0, 9.0, 0.05, 2)
    assert keeping('{ type = "tcp", connection = "keep" }') == Keeping(2.0, 60.0, 0.05, 2, is_watch=True)
    assert keeping('"http"') is None


def test_checks_that_differ_in_it_have_probes_of_their_own() -> None:
    (check,) = read(service(check='{ type = "https", connection = "keep" }')).services[0].real_servers[0].checks
    assert isinstance(check, HttpsCheck | HttpCheck)
    assert msgspec.structs.replace(check, kept=None) != check


def test_ready_made_check_may_forbid_it(tmp_path: Path) -> None:
    file = tmp_path / "greeting.toml"
    file.write_text(f'{SILENT}never_keep = "{REASON}"\n')
    assert errors('{ type = "greeting", connection = "keep" }', shelf=tmp_path) == [
        f'connection: {REASON} ({file}); leave it out, or write connection = "new"'
    ]
    assert how('"greeting"', shelf=tmp_path) is None
    assert how('"greeting"', defaults=KEEP, shelf=tmp_path) is None
    assert how('{ type = "greeting", connection = "new" }', defaults=KEEP, shelf=tmp_path) is None


def test_it_forbids_it_to_one_real_server_too(tmp_path: Path) -> None:
    (tmp_path / "greeting.toml").write_text(f'{SILENT}never_keep = "{REASON}"\n')
    server = '[{ address = "198.51.100.11", check = { connection = "keep" } }]'
    with pytest.raises(ConfigError) as caught:
        parse(service(check='"greeting"', servers=server), "c.toml", checks_dirs=[tmp_path])
    (error,) = caught.value.errors
    assert error.startswith(f'c.toml:5: service "web": real_server[0].check.connection: {REASON} (')


def test_file_that_forbids_what_it_does_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "greeting.toml"
    file.write_text(f'{SILENT}never_keep = "{REASON}"\nconnection = "keep"\n')
    assert errors('"greeting"', shelf=tmp_path) == [f"{file}:5: connection: never_keep says why this must not be"]
    file.write_text(f"{SILENT}never_keep = true\n")
    assert errors('"greeting"', shelf=tmp_path) == [f"{file}:4: never_keep: expected a string, got true"]


def test_it_is_no_key_of_a_configuration() -> None:
    (error,) = errors('{ type = "tcp", never_keep = "x" }')
    assert error.startswith("never_keep: unknown key")


def test_floor_of_a_ready_made_check_holds_for_probes_that_confirm(tmp_path: Path) -> None:
    (tmp_path / "greeting.toml").write_text(f'{SILENT}min_interval = "2s"\n')
    assert how('{ type = "greeting", connection = "keep" }', shelf=tmp_path) == of(confirm_interval=2.0)


def test_packaged_checks_forbid_it_where_it_harms_or_tells_nothing() -> None:
    shelf = Shelf(readymade.search_path("c.toml"))
    found = {name: check.never_keep for name in shelf.names() if (check := shelf.find(name)) and check.never_keep}
    assert found.keys() == {"imap", "mysql", "pgbouncer", "pop3", "postgres", "ssh"}
    assert all(each.reason for each in found.values())
    for name, why in found.items():
        (error,) = errors(f'{{ type = "{name}", connection = "keep" }}')
        assert error.startswith(f"connection: {why.reason} (")


@pytest.mark.parametrize("name", ["redis", "memcached", "ldap", "nats", "mqtt"])
def test_packaged_checks_of_servers_that_do_not_mind_allow_it(name: str) -> None:
    assert how(f'{{ type = "{name}", connection = "keep" }}') == Kept()
