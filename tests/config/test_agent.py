"""The keys of agent checks, and those with which programs ask for weights."""

import pytest

from lvs_healthd.config.check_model import AgentCheck, ExecCheck
from lvs_healthd.config.effective import to_toml
from tests.config.reading import checks_of, errors_of, read, service


def test_agent_is_asked_at_its_own_port_with_its_own_defaults() -> None:
    (check,) = checks_of(service(check='{ type = "agent", port = 9707 }'))
    assert isinstance(check, AgentCheck)
    assert (check.port, check.rise, check.fall, check.path, check.host) == (9707, 1, 1, "", "")


@pytest.mark.parametrize(
    ("port", "host"), [(80, "198.51.100.11"), (9707, "198.51.100.11:9707")], ids=["usual", "another"]
)
def test_agent_over_http_is_called_by_its_address(port: int, host: str) -> None:
    (check,) = checks_of(service(check=f'{{ type = "agent", port = {port}, path = "/weight" }}'))
    assert isinstance(check, AgentCheck)
    assert (check.path, check.host) == ("/weight", host)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ('"agent"', "check: port is missing: an agent listens on a port of its own, as in port = 3333"),
        (
            '{ type = "agent", port = 1, path = "/", send = "x" }',
            "check.send: over HTTP the agent is sent a request; leave send or path out",
        ),
        ('{ type = "agent", port = 1, host = "x" }', "check.host: a Host header is sent over HTTP only; add path"),
        (
            '{ type = "exec", command = ["/c"], convention = "nagios", dynamic_weight = true }',
            'check.dynamic_weight: exit statuses ask for weights only with convention = "keepalived"',
        ),
    ],
)
def test_check_that_cannot_be(check: str, message: str) -> None:
    assert errors_of(service(check=check)) == [f'c.toml:4: service "web": {message}']


@pytest.mark.parametrize(
    "check",
    [
        '{ type = "agent", port = 9707, send = "web\\n" }',
        '{ type = "agent", port = 9707, path = "/weight" }',
        '{ type = "exec", command = ["/c"], convention = "keepalived", dynamic_weight = true }',
    ],
)
def test_effective_configuration_loads_to_the_same(check: str) -> None:
    config = read(service(check=check))
    assert read(to_toml(config)).services == config.services
    (found,) = config.services[0].real_servers[0].checks
    assert isinstance(found, AgentCheck | ExecCheck)
