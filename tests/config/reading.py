"""Short helpers to read configurations in tests."""

import pytest

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.load import ConfigError, parse
from lvs_healthd.config.model import Config


def read(text: str) -> Config:
    return parse(text, "c.toml")


def errors_of(text: str) -> list[str]:
    """Return the errors of a configuration, which must have some."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    return list(caught.value.errors)


def service(keys: str = "", *, check: str = '"tcp"', servers: str = '["198.51.100.11"]') -> str:
    """Return a whole configuration, with `check` on line 4, `real_server` on line 5 and `keys` from line 6 on."""
    address = "" if keys.startswith("address") or "fwmark" in keys else 'address = "192.0.2.100:80"'
    return f'[[service]]\nname = "web"\n{address}\ncheck = {check}\nreal_server = {servers}\n{keys}\n'


def checks_of(text: str) -> tuple[AnyCheck, ...]:
    """Return the checks of the first real server."""
    return read(text).services[0].real_servers[0].checks
