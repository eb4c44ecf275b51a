"""What was found in a service is remembered for as long as the service is the same object."""

from lvs_healthd.config.model import Service
from lvs_healthd.config.per_service import PerService
from tests.configs import service


def test_only_services_that_have_changed_are_looked_into() -> None:
    looked: list[str] = []

    def find(given: Service) -> str:
        looked.append(given.name)
        return f"{given.name} {given.scheduler}"

    found = PerService(find)
    one, two = service(name="one"), service(name="two")
    assert list(found.of([one, two])) == ["one rr", "two rr"]
    edited = service(name="two")
    assert list(found.of([edited, one])) == ["two rr", "one rr"]
    assert looked == ["one", "two", "two"]
    assert list(found.of([one])) == ["one rr"]
    assert list(found.of([edited, one])) == ["two rr", "one rr"]
    assert looked == ["one", "two", "two", "two"]  # one that is dropped is forgotten
