"""The `[fleet]` table."""

from pathlib import Path

import pytest

from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.load import about_store, parse, read_files
from tests.config.reading import errors_of


def fleet(text: str) -> Fleet:
    return parse(f"[fleet]\n{text}", "c.toml").fleet


def test_values(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    found = fleet(
        'store = ["https://etcd1.example.net:2379/", "https://[2001:db8::1]:2379"]\nprefix = "/lb"\nuser = "director"\n'
        f'password_file = "{secret}"\n'
    )
    assert found.store == ("https://etcd1.example.net:2379", "https://[2001:db8::1]:2379")
    assert (found.prefix, found.user, found.password_file) == ("/lb/", "director", str(secret))
    assert fleet("") == Fleet()


def test_effective_configuration_is_the_same(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    text = f'[fleet]\nstore = "https://e:1"\nuser = "director"\npassword_file = "{secret}"\n'
    config = parse(text, "c.toml")
    written = to_toml(config)
    assert parse(written, "c.toml").fleet == config.fleet
    assert "secret\n" not in written


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('store = "etcd:2379"', "fleet.store: expected a URL with a port, such as"),
        ('store = "https://etcd"', "fleet.store: expected a URL with a port"),
        ('store = "https://etcd:99999"', "fleet.store: expected a URL with a port"),
        ('store = "https://etcd:2379/v3"', "fleet.store: expected a URL with a port"),
        ('store = ["https://e:1", 7]', "fleet.store[1]: expected a string, got 7"),
        ('store = "https://u:p@etcd:2379"', "fleet.store: expected a URL without a password; write user and"),
        ('prefix = "/x/"', "fleet.prefix: this does nothing without store"),
        ('store = "https://e:1"\nprefix = "x"', "fleet.prefix: expected a prefix that begins with a slash"),
        ('store = "https://e:1"\nuser = "x"', "fleet.user: password_file is missing"),
        ('store = "https://e:1"\nca = "/nonexistent"', "fleet.ca: cannot read /nonexistent"),
        ('store = "https://e:1"\nagrees = 2', "fleet.agrees: unknown key"),
    ],
)
def test_mistakes(text: str, error: str) -> None:
    (found,) = errors_of(f"[fleet]\n{text}\n")
    assert error in found


def test_password_of_nobody_is_told(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    (found,) = errors_of(f'[fleet]\nstore = "https://e:1"\npassword_file = "{secret}"\n')
    assert 'fleet.password_file: user is missing: user = "director"' in found


def test_plain_http_is_remarked_unless_it_stays_on_this_host() -> None:
    text = '[fleet]\nstore = ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "http://etcd1:1"]\n'
    (remark,) = parse(text, "c.toml").remarks
    assert "fleet.store: whoever is on the way to http://etcd1:1 can read the password" in remark


def test_store_is_known_before_the_rest_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text('[fleet]\nstore = "https://e:1"\n')
    file = tmp_path / "c.toml"
    file.write_text('include = "more.toml"\n[daemon]\nstate = "/s/state.json"\n[[service]]\npool = "of etcd"\n')
    found, daemon = about_store(read_files(file))
    assert (found.store, daemon.state) == (("https://e:1",), "/s/state.json")
