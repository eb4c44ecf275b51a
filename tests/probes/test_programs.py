"""What an exec check asks for: arguments, environment, and what is remembered from one run to the next."""

import msgspec

from lvs_healthd.probes.targets import targets
from lvs_healthd.programs.messages import Request
from tests.config.reading import read, service

TWO_SERVERS = '["192.0.2.1:80", "192.0.2.2:81"]'


def requests(text: str) -> list[Request]:
    """Return what each probe of a configuration asks for at first, in the order of the servers."""
    begun = [target.begin() for target in targets(read(text).services).values()]
    return [
        msgspec.json.decode(step, type=Request) for exchange in begun if isinstance(step := exchange.connected(), bytes)
    ]


def test_each_server_has_its_own_program_with_its_own_address() -> None:
    check = '{ type = "exec", command = ["/bin/check", "{address}:{port}"], convention = "mon" }'
    asked = requests(service(check=check, servers=TWO_SERVERS))
    assert [each.argv for each in asked] == [
        ("/bin/check", "192.0.2.1:80", "192.0.2.1"),
        ("/bin/check", "192.0.2.2:81", "192.0.2.2"),
    ]
    assert [each.environment["LVS_ADDRESS"] for each in asked] == ["192.0.2.1", "192.0.2.2"]
    assert [each.environment["LVS_PORT"] for each in asked] == ["80", "81"]
