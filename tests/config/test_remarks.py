"""Remarks: what is allowed but will probably not do what was meant. Each has a place and says what to write instead."""

from pathlib import Path

import pytest

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.config.reuse import LastReading
from tests.config.reading import read, service


def remarks_of(text: str) -> list[str]:
    return list(read(text).remarks)


LATE = (
    "timeout 3s is above interval 2s: probes of a check never overlap, so a server that hangs is probed only every 3s; "
    'write interval = "3s", or timeout = "2s" at most'
)
LATE_CHECK = '{ type = "tcp", timeout = "3s" }'


def test_timeout_above_the_interval() -> None:
    assert remarks_of(service(check=LATE_CHECK)) == [f'c.toml:4: service "web": check.timeout: {LATE}']
    assert remarks_of(service(check='{ type = "tcp", timeout = "2s" }')) == []


def test_timeout_above_the_interval_is_told_where_it_came_to_be() -> None:
    defaults = '[defaults.check]\ntimeout = "3s"\n'
    assert remarks_of(defaults + service()) == [f"c.toml:2: defaults.check.timeout: {LATE}"]
    (short,) = remarks_of('[defaults.check]\ninterval = "500ms"\n' + service())
    assert short.startswith("c.toml:2: defaults.check.interval: timeout 1s is above interval 500ms: ")
    (own,) = remarks_of(defaults + service(check='{ type = "tcp", interval = "1s" }'))[1:]
    assert own.startswith('c.toml:6: service "web": check.interval: timeout 3s is above interval 1s: ')
    servers = '["198.51.100.11", { address = "198.51.100.12", check = { timeout = "3s" } }]'
    assert remarks_of(service(servers=servers)) == [f'c.toml:5: service "web": real_server[1].check.timeout: {LATE}']


def test_udp_check_that_expects_nothing_has_times_of_its_own() -> None:
    assert remarks_of(service(check='{ type = "udp", timeout = "4500ms" }')) == []
    assert remarks_of("[defaults.check]\nrise = 3\n" + service(check='"udp"')) == []
    (short,) = remarks_of('[defaults.check]\ninterval = "3s"\n' + service(check='"udp"'))
    assert short.startswith('c.toml:6: service "web": check: timeout 4s is above interval 3s: ')
    assert short.endswith('; write interval = "4s"')  # a shorter timeout would be an error


def test_wrong_values_are_errors_and_no_remarks() -> None:
    with pytest.raises(ConfigError) as caught:
        read(service(check='{ type = "tcp", timeout = "3s", interval = 1 }'))
    assert (len(caught.value.errors), caught.value.remarks) == (1, ())


def test_remarks_are_told_beside_errors_and_in_the_order_of_the_file() -> None:
    text = '[defaults.check]\ninterval = "500ms"\n' + service("weight = 1", check=LATE_CHECK)
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert [each.partition(": ")[0] for each in caught.value.remarks] == ["c.toml:2", "c.toml:6"]
    assert [each.partition(": ")[0] for each in caught.value.errors] == ["c.toml:8"]


def test_block_that_makes_several_services_has_one_remark() -> None:
    text = service('address = "192.0.2.1-9:80"\nprotocol = ["tcp", "udp"]', check=LATE_CHECK)
    assert len(remarks_of(text)) == 1


class Again:
    """Reads a file again and again, as a reload does, and checks that a fresh reading has the same remarks."""

    def __init__(self, checks: Path) -> None:
        self._memory = LastReading()
        self._checks = checks

    def __call__(self, text: str) -> Config:
        fresh = parse(text, "c.toml", checks_dirs=[self._checks])
        again = parse(text, "c.toml", checks_dirs=[self._checks], memory=self._memory)
        assert again == fresh
        return again


def test_unchanged_service_keeps_its_remarks_on_its_new_line(tmp_path: Path) -> None:
    again = Again(tmp_path)
    first = again(service(check=LATE_CHECK))
    moved = again("# a comment\n\n" + service(check=LATE_CHECK))
    assert moved.services[0] is first.services[0]
    assert [each.partition(": ")[0] for each in (*first.remarks, *moved.remarks)] == ["c.toml:4", "c.toml:6"]
    behind = service().replace("web", "other").replace("192.0.2.100", "192.0.2.101")
    assert again(behind + service(check=LATE_CHECK)).remarks == (f'c.toml:10: service "web": check.timeout: {LATE}',)
    assert again(service()).remarks == ()


QUIESCE = 'on_failure = "quiesce"\n'
REFUSED = (
    "{0} goes on choosing a server at weight 0 for the clients that hash to it, and the kernel refuses them; write "
    'on_failure = "remove"'
)
PINNED = (
    "a udp client that keeps its port stays with a server at weight 0 for as long as it sends; "
    'write on_failure = "remove", with expire_nodest_conn = true in [ipvs.sysctl]'
)
FED = (
    "persistent clients go on being sent to a server at weight 0 until their persistence ends; "
    'write expire_quiescent_template = true in [ipvs.sysctl], or on_failure = "remove"'
)


@pytest.mark.parametrize(
    ("keys", "remark"),
    [
        ('scheduler = "sh"', REFUSED.format("sh") + ', or add scheduler_flags = ["sh-fallback"]'),
        (
            'scheduler = "sh"\nscheduler_flags = ["sh-port"]',
            REFUSED.format("sh") + ', or add scheduler_flags = ["sh-fallback"]',
        ),
        ('scheduler = "mh"', REFUSED.format("mh") + ', or add scheduler_flags = ["mh-fallback"]'),
        ('scheduler = "dh"', REFUSED.format("dh")),
        ('protocol = "udp"', PINNED),
        ('persistence = "300s"', FED),
    ],
)
def test_quiesce_where_clients_still_meet_the_server(keys: str, remark: str) -> None:
    assert remarks_of(service(QUIESCE + keys)) == [f'c.toml:6: service "web": on_failure: {remark}']
    assert remarks_of(service(keys)) == []


@pytest.mark.parametrize(
    "keys",
    [
        'scheduler = "sh"\nscheduler_flags = ["sh-fallback"]',
        'scheduler = "mh"\nscheduler_flags = ["flag-1"]',
        'scheduler = "wlc"',
        'protocol = "udp"\none_packet = true',
        'persistence = "300s"\n[ipvs.sysctl]\nexpire_quiescent_template = true',
    ],
)
def test_quiesce_where_it_works(keys: str) -> None:
    assert remarks_of(service(QUIESCE + keys)) == []


def test_quiesce_and_a_template_that_is_told_not_to_expire() -> None:
    text = service(QUIESCE + 'persistence = "300s"\n[ipvs.sysctl]\nexpire_quiescent_template = false')
    assert remarks_of(text) == [f'c.toml:6: service "web": on_failure: {FED}']


def test_each_service_concerned_has_its_own_remark(tmp_path: Path) -> None:
    again = Again(tmp_path)
    text = service(QUIESCE + 'scheduler = "dh"\npersistence = "300s"')
    text += service(QUIESCE + 'protocol = "udp"').replace('"web"', '"dns"')
    assert [each.rpartition(": ")[0].partition(": on")[0] for each in again(text).remarks] == [
        'c.toml:6: service "web"',
        'c.toml:6: service "web"',
        'c.toml:14: service "dns"',
    ]
    # The remark on persistence depends on another table than the service's.
    assert len(again(text + "[ipvs.sysctl]\nexpire_quiescent_template = true\n").remarks) == 2
