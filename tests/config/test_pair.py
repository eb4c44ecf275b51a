"""The keys of `[pair]`, and `vip` of a service."""

import pytest

from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.model import ActiveWhen, Pair, Standby, TrackFault
from tests.config.reading import errors_of, read, service

FOLLOWING = '[pair]\nactive_when = "vip-present"\n'
FILE = 'track_file = "/run/lvs-healthd/track"\n'
WHOLE = f'{FOLLOWING}{FILE}track = ["w*"]\ntrack_fault = "any"\ntrack_after = "5s"\ntrack_back = "1m"\n'
NOT_BOTH = (
    'not with standby = "suspend": a director that has given its address away would not probe, and could never find '
    "out that it is well again"
)
MARK = service("fwmark = 7", check='{ type = "tcp", port = 80 }')


def test_keys_are_read_and_the_defaults_are_those_of_the_record() -> None:
    assert read(WHOLE + service()).pair == Pair(
        active_when=ActiveWhen.VIP_PRESENT,
        track_file="/run/lvs-healthd/track",
        track=("w*",),
        track_fault=TrackFault.ANY,
        track_after=5.0,  # type: ignore[arg-type]
        track_back=60.0,  # type: ignore[arg-type]
    )
    assert read(service()).pair == Pair()
    suspended = read(FOLLOWING + 'standby = "suspend"\n' + service()).pair
    assert suspended == Pair(active_when=ActiveWhen.VIP_PRESENT, standby=Standby.SUSPEND)


@pytest.mark.parametrize("text", ["", FOLLOWING, WHOLE, FOLLOWING + 'standby = "suspend"\n'])
def test_what_is_written_out_reads_the_same(text: str) -> None:
    config = read(text + service('vip = "192.0.2.9"'))
    assert read(to_toml(config)) == config
    assert config.services[0].vip == "192.0.2.9"


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('active_when = "vip"', 'c.toml:2: pair.active_when: expected always or vip-present, got "vip"'),
        ('standby = "suspend"', 'c.toml:2: pair.standby: this does nothing without active_when = "vip-present"'),
        ('track = ["web"]', "c.toml:2: pair.track: this does nothing without a track_file"),
        ('track_back = "1s"', "c.toml:2: pair.track_back: this does nothing without a track_file"),
        ('track_file = "track"', 'c.toml:2: pair.track_file: expected an absolute path, got "track"'),
        (
            'track_file = "/t"\ntrack = ["wep"]',
            'c.toml:3: pair.track[0]: no service is called "wep"; did you mean "web"?',
        ),
        ('track_file = "/t"\ntrack = ["x*"]', 'c.toml:3: pair.track[0]: no service is called "x*"'),
        (
            'track_file = "/t"\nactive_when = "vip-present"\nstandby = "suspend"',
            f"c.toml:2: pair.track_file: {NOT_BOTH}",
        ),
        (
            'track_file = "/run/lvs-healthd/control.sock"',
            "c.toml:2: pair.track_file: the same as daemon.control; the track file needs a name of its own",
        ),
        (
            'track_file = "/var/lib/lvs-healthd/overrides.json"',
            "c.toml:2: pair.track_file: the same as daemon.overrides; the track file needs a name of its own",
        ),
    ],
)
def test_what_cannot_work_or_does_nothing_is_an_error(lines: str, error: str) -> None:
    assert errors_of(f"[pair]\n{lines}\n" + service()) == [error]


def test_vip_is_one_address_or_none() -> None:
    (error,) = errors_of(service('vip = "192.0.2.9:80"'))
    assert error.startswith('c.toml:6: service "web": vip: expected an IP address, got "192.0.2.9:80"')
    assert read(service('vip = ""')).services[0].vip == ""
    assert read(service()).services[0].vip is None


def test_service_with_a_mark_alone_that_stays_active_is_remarked_on_unless_that_is_meant() -> None:
    (remark,) = read(FOLLOWING + MARK).remarks
    assert remark.startswith('c.toml:1: pair: service "web" has a firewall mark and no address, so it counts as active')
    assert read(MARK).remarks == ()
    for vip in ("", "192.0.2.100"):
        assert read(FOLLOWING + MARK.replace("fwmark = 7", f'fwmark = 7\nvip = "{vip}"')).remarks == ()
