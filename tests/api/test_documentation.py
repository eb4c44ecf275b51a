"""docs/api.md names every field of the status, every endpoint and every exit status, and nothing else."""

import re
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.api import app, rate, server
from lvs_healthd.api import clients as connections
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.ipvs.kernel.connections import Connection
from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.view.director_values import DirectorValues, ServiceConfiguration, SyncValues, TimeoutValues
from lvs_healthd.view.reload_values import ReloadOutcome
from lvs_healthd.view.status_values import CheckStatus, DaemonStatus, RealServerStatus, ServiceStatus
from lvs_healthd.view.table_values import ListedServer, ListedService, ServerFields, ServiceFields, State
from lvs_healthd.view.why_values import (
    CheckWhy,
    DampingWhy,
    KeptBack,
    KernelWhy,
    Layers,
    OrderWhy,
    PastWhy,
    PlanWhy,
    ServerWhy,
)

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def fields(record: type[msgspec.Struct], prefix: str) -> set[str]:
    return {prefix + name for name in record.__struct_fields__ if name not in ("real_servers", "checks")}


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_every_field_of_the_status_is_documented_and_no_other() -> None:
    in_code = (
        fields(DaemonStatus, "daemon.")
        | fields(ServiceStatus, "services[].")
        | fields(RealServerStatus, "services[].real_servers[].")
        | fields(CheckStatus, "services[].real_servers[].checks[].")
    )
    assert set(re.findall(r"^\| `([\w.\[\]]+)` \|", section("/api/v1/status"), re.MULTILINE)) == in_code


@pytest.mark.parametrize(
    ("what", "record"), [("a service", ListedService), ("a server", ListedServer), ("statistics", Statistics)]
)
def test_every_field_of_the_table_is_documented_and_no_other(what: str, record: type[msgspec.Struct]) -> None:
    table = section("/api/v1/table").split(f"| field of {what} | meaning |\n", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(record.__struct_fields__)


def test_every_field_of_a_reload_is_documented_and_no_other() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", section("/api/v1/reload"), re.MULTILINE)
    assert documented == list(ReloadOutcome.__struct_fields__)


def test_every_field_of_a_director_is_documented_and_no_other() -> None:
    text = section("/api/v1/director")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(DirectorValues.__struct_fields__)
    words = set(re.findall(r"`(\w+)`", text))
    for record in (ServiceConfiguration, SyncValues, TimeoutValues):
        assert set(record.__struct_fields__) <= words


@pytest.mark.parametrize("record", [ServiceFields, ServerFields, Connection, State])
def test_every_word_of_the_table_is_documented(record: type[msgspec.Struct] | type[State]) -> None:
    words = set(State) if record is State else set(record.__struct_fields__)  # type: ignore[union-attr]
    assert words <= set(re.findall(r"`(\w+)`", section("/api/v1/table") + section("lvs-healthd table")))


def test_every_endpoint_is_documented_and_no_other() -> None:

    in_code = {"/", *re.findall(r"^(/\S+)", app._INDEX, re.MULTILINE)}
    assert set(re.findall(r"^\| `(/[\w/.-]*)` \|", PAGE, re.MULTILINE)) == in_code


def test_limits_are_the_code_s() -> None:
    text = " ".join(PAGE.split())
    assert f"{connections.MAX_CONNECTIONS} connections at once over TCP" in text
    assert f"{connections.MAX_CONTROL_CONNECTIONS} over the control socket" in text
    assert f"{connections.STALLED_WRITE_S:g} s without reading on" in text
    assert f"{rate.LEAST_BYTES_PER_S // 1024} KiB a second, not counting {rate.GRACE_S:g} s" in text
    assert f"{server.KEEPALIVE_S:g} s for a connection to send" in text


def test_exit_statuses_are_the_code_s() -> None:
    documented = {int(number) for number in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    assert documented == set(ExitStatus)


@pytest.mark.parametrize(
    ("what", "record"), [("a server", ServerWhy), ("layers", Layers), ("history", PastWhy), ("a check", CheckWhy)]
)
def test_every_field_of_why_is_documented_and_no_other(what: str, record: type[msgspec.Struct]) -> None:
    table = section("/api/v1/why").split(f"| field of {what} | meaning |\n", 1)[1].split("\n\n", 1)[0]
    first = re.findall(r"^\|([^|]*)\|", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(record.__struct_fields__)


@pytest.mark.parametrize("record", [OrderWhy, DampingWhy, KeptBack, PlanWhy, KernelWhy])
def test_every_field_of_a_layer_is_documented(record: type[msgspec.Struct]) -> None:
    assert set(record.__struct_fields__) <= set(re.findall(r"`(\w+)`", section("/api/v1/why")))
