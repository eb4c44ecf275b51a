"""`source`: servers that are listed elsewhere, and where what is wrong with them is told."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.basics import Endpoint, Family, Seconds
from lvs_healthd.config.effective import to_toml
from lvs_healthd.config.load import ConfigError, load, parse, relist
from lvs_healthd.config.model import Config, ForeignServers, Service
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.sources import Entry, Lists, Source
from tests.config.reading import errors_of, read

WEB = Source(file="/etc/web.list")
SPARE = Source(file="/etc/spare.list")
SERVICE = '[[service]]\nname = "web"\naddress = "192.0.2.100:80"\ncheck = "tcp"\n'
SOURCED = SERVICE + 'source = { file = "/etc/web.list" }\n'


def listed(*addresses: str, weight: int = 1, file: str = "/etc/web.list") -> tuple[Entry, ...]:
    return tuple(Entry(address, weight, f"{file}:{line}") for line, address in enumerate(addresses, start=1))


def with_lists(text: str, lists: Lists) -> Config:
    return parse(text, "c.toml", lists=lists)


def servers(service: Service) -> list[tuple[str, int]]:
    return [(str(server.endpoint), server.weight) for server in service.real_servers]


def errors_with(text: str, lists: Lists) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        with_lists(text, lists)
    return list(caught.value.errors)


def test_servers_of_a_source_are_like_those_of_the_file() -> None:
    text = SOURCED + 'real_server = ["198.51.100.10"]\n'
    (web,) = with_lists(text, {WEB: listed("198.51.100.11", "198.51.100.12:81", weight=3)}).services
    assert servers(web) == [("198.51.100.10:80", 1), ("198.51.100.11:80", 3), ("198.51.100.12:81", 3)]
    assert [check.port for server in web.real_servers for check in server.checks] == [80, 80, 81]
    assert web.sources == (WEB,)
    assert web.foreign_servers is ForeignServers.REMOVE


def test_pool_has_sources_too_and_each_service_gives_their_servers_its_port() -> None:
    text = (
        '[pool.web]\nsource = [{ file = "/etc/web.list" }, { file = "/etc/spare.list" }]\n'
        + (SERVICE + 'pool = "web"\n')
        + '[[service]]\nname = "tls"\naddress = "192.0.2.100:443"\ncheck = "tcp"\npool = "web"\n'
        + 'source = { file = "/etc/spare.list" }\n'
    )
    lists = {WEB: listed("198.51.100.11"), SPARE: listed("198.51.100.21:8080", file="/etc/spare.list")}
    web, tls = with_lists(text, lists).services
    assert servers(web) == [("198.51.100.11:80", 1), ("198.51.100.21:8080", 1)]
    assert servers(tls) == [("198.51.100.11:443", 1), ("198.51.100.21:8080", 1)]
    assert web.sources == tls.sources == (WEB, SPARE)


def test_while_nothing_is_known_of_a_source_what_serves_is_left_alone() -> None:
    (web,) = with_lists(SOURCED, {}).services
    assert (web.real_servers, web.foreign_servers) == ((), ForeignServers.KEEP)
    (web,) = with_lists(SOURCED, {WEB: ()}).services
    assert (web.real_servers, web.foreign_servers) == ((), ForeignServers.REMOVE)


def test_validation_asks_nobody(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(SOURCED.replace("/etc/web.list", f"{tmp_path}/missing"))
    (web,) = load(file).services
    assert (web.real_servers, web.foreign_servers) == ((), ForeignServers.REMOVE)


def test_it_is_written_out() -> None:
    assert tomllib.loads(to_toml(read(SOURCED)))["service"][0]["source"] == [{"file": "/etc/web.list"}]


NAMED = '{ dns = "Web.Example.net.", port = 8080, nameserver = ["192.0.2.53", "[2001:db8::53]:5353"], min_ttl = "1m" }'
BY_NAME = Source(
    dns="web.example.net",
    family=Family.IPV4,
    port=8080,
    nameserver=(Endpoint("192.0.2.53", 53), Endpoint("2001:db8::53", 5353)),
    min_ttl=Seconds(60.0),
)


def test_name_is_asked_for_addresses_of_the_family_of_the_service() -> None:
    text = (
        f'[pool.web]\nsource = {NAMED}\n{SERVICE}pool = "web"\n'
        f'{SERVICE.replace("192.0.2.100", "[2001:db8::100]").replace("web", "six")}pool = "web"\n'
        f'{SERVICE.replace("192.0.2.100:80", "192.0.2.101:80").replace("web", "tun")}forward = "tun"\n'
        'source = { dns = "_http._tcp.web.example", family = "ipv6" }\n'
    )
    web, six, tun = read(text).services
    by_name_6 = msgspec.structs.replace(BY_NAME, family=Family.IPV6)
    assert (web.sources, six.sources) == ((BY_NAME,), (by_name_6,))
    assert tun.sources == (Source(dns="_http._tcp.web.example", family=Family.IPV6),)
    assert [str(each.sources[0]) for each in (web, six, tun)] == [
        "dns web.example.net A port 8080 from 192.0.2.53, [2001:db8::53]:5353 every 1m",
        "dns web.example.net AAAA port 8080 from 192.0.2.53, [2001:db8::53]:5353 every 1m",
        "dns _http._tcp.web.example SRV AAAA",
    ]


def test_name_is_written_out_with_what_is_not_usual() -> None:
    whole = SERVICE + f'source = [{NAMED}, {{ dns = "b.example" }}]\n'
    written = to_toml(read(whole))
    assert tomllib.loads(written)["service"][0]["source"] == [
        {
            "dns": "web.example.net",
            "family": "ipv4",
            "port": 8080,
            "nameserver": ["192.0.2.53", "[2001:db8::53]:5353"],
            "min_ttl": "1m",
        },
        {"dns": "b.example", "family": "ipv4"},
    ]


def test_other_list_of_a_name_changes_its_services() -> None:
    for text in (
        SERVICE + 'source = { dns = "web.example.net" }\n',
        '[pool.web]\nsource = { dns = "web.example.net" }\n' + SERVICE + 'pool = "web"\n',
    ):
        memory, source = LastReading(), Source(dns="web.example.net", family=Family.IPV4)
        parse(text, "c.toml", memory=memory, lists={source: listed("198.51.100.11")})
        assert memory.whole is not None
        (web,) = relist(memory.whole, memory, {source: listed("198.51.100.12")}).services
        assert servers(web) == [("198.51.100.12:80", 1)]


@pytest.mark.parametrize(
    "text",
    [
        SOURCED,
        SOURCED.replace('"tcp"', '[{ type = "https", sni = "a.example", requests = [{}, { path = "/b" }] }, "ping"]'),
        SOURCED.replace('"tcp"', '[{ type = "http", port = 81 }, { type = "grpc", address = "198.51.100.9" }, "agent"]')
        .replace('"agent"', '{ type = "agent", path = "/", port = 82 }'),
        SOURCED.replace('"tcp"', '["tcp", { type = "tcp", name = "path", through = "vip" }]'),
        SOURCED + 'forward = "tun"\ntun_type = "gue"\ntun_port = 6080\nupper_threshold = 9\nlower_threshold = 3\n'
        'real_server = ["198.51.100.10", { address = "198.51.100.20", forward = "nat", check = { rise = 7 } }]\n',
        SOURCED.replace('address = "192.0.2.100:80"', 'fwmark = 7\nfamily = "ipv6"')
        .replace('"tcp"', '{ type = "https", port = 443 }'),
    ],
)  # fmt: skip
def test_what_is_written_out_gives_servers_from_sources_the_same(text: str) -> None:
    lists = {WEB: listed("[2001:db8::11]" if "ipv6" in text else "198.51.100.11", weight=3)}
    written = to_toml(read(text))
    assert with_lists(written, lists).services == with_lists(text, lists).services
    assert to_toml(read(written)) == written


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (SERVICE + 'source = "/etc/web.list"\n', ['got "/etc/web.list"; write source = { file = "/etc/web.list" }']),
        (SERVICE + 'source = { file = "web.list" }\n', ['source.file: expected an absolute path, got "web.list"']),
        (
            SERVICE + "source = {}\n",
            ['source: file, dns or etcd is missing: source = { file = "/etc/lvs-healthd/web.list" } or { dns'],
        ),
        (SERVICE + "source = []\n", ["source: expected a table, got an empty array"]),
        (SERVICE + 'source = { consul = "web" }\n', ["source.consul: unknown key; known here: file, dns, family, "]),
        (SERVICE + 'source = { file = "/a", port = 80 }\n', ["source.port: unknown key; known here: file"]),
        (
            SERVICE + 'source = { file = "/a", dns = "a.example" }\n',
            ["file and dns are sources of their own: source = [{ file = … }, { dns = … }]"],
        ),
        (
            SERVICE + 'source = { dns = "192.0.2.7" }\n',
            ['source.dns: expected a domain name, got "192.0.2.7"; it is an address, which needs no look-up: real_s'],
        ),
        (
            SERVICE + 'source = { dns = "a.example", family = "ipv6" }\n',
            ['"dns a.example AAAA" lists ipv6 only, and the service is ipv4; leave out `family`'],
        ),
        (SERVICE + 'source = { dns = "." }\n', ["source.dns: expected a domain name"]),
        (SERVICE + 'source = { dns = "a..b" }\n', ["source.dns: expected a domain name"]),
        (
            SERVICE + 'source = { dns = "_http._tcp.web.example", port = 80 }\n',
            ["source.port: SRV records have ports of their own; leave it out"],
        ),
        (
            SERVICE + 'source = { dns = "a.example", nameserver = "192.0.2.1-9" }\n',
            ["source.nameserver: expected the address of a name server"],
        ),
        (
            SERVICE + 'source = { dns = "a.example", nameserver = "ns.example" }\n',
            ['source.nameserver: expected the address of a name server, got "ns.example"; an IP address, alone or'],
        ),
        (SERVICE + 'source = { dns = "a.example", min_ttl = "0s" }\n', ["source.min_ttl: expected a duration from 1s"]),
        (SERVICE + 'source = [{ file = "/a" }, { file = "/a" }]\n', ["source[1]: "]),
        (
            SOURCED.replace('check = "tcp"\n', ""),
            ["no check; "],
        ),
        (
            SOURCED.replace('check = "tcp"\n', "")
            + 'real_server = [{ address = "198.51.100.11", check = { type = "tcp" } }]\n',
            ["servers from a source need the checks of the service: no check; "],
        ),
        (
            SOURCED.replace('address = "192.0.2.100:80"', "fwmark = 7"),
            ['servers from a source may come later: say which family clients use: family = "ipv4"'],
        ),
        ('[defaults.service]\nsource = { file = "/a" }\n' + SERVICE, ["source cannot be inherited", "real_server is"]),
        ("[pool.web]\n" + SERVICE + 'pool = "web"\n', ["real_server is missing: a pool needs at least one"]),
    ],
)
def test_errors(text: str, messages: list[str]) -> None:
    found = errors_of(text)
    assert len(found) == len(messages)
    for error, message in zip(found, messages, strict=True):
        assert message in error


def test_what_does_not_fit_is_told_with_the_place_in_the_list() -> None:
    (error,) = errors_with(SOURCED, {WEB: listed("198.51.100.11", "[2001:db8::1]:80")})
    assert error.startswith('/etc/web.list:2: service "web": address: ')
    own = SOURCED + 'real_server = ["198.51.100.11"]\n'
    (error,) = errors_with(own, {WEB: listed("198.51.100.12", "198.51.100.11")})
    already = '/etc/{}: service "web": address: 198.51.100.11:80 is already listed, {}; keep one of them'
    assert error == already.format("web.list:2", "on line 6 of c.toml")
    two = SERVICE + 'source = [{ file = "/etc/web.list" }, { file = "/etc/spare.list" }]\n'
    lists = {WEB: listed("198.51.100.11"), SPARE: listed("198.51.100.11", file="/etc/spare.list")}
    (error,) = errors_with(two, lists)
    assert error == already.format("spare.list:1", "in /etc/web.list:1")


def test_number_of_servers_is_not_judged_while_it_may_change() -> None:
    (web,) = with_lists(SOURCED + "min_up = 3\n", {WEB: listed("198.51.100.11")}).services
    assert web.min_up.count == 3
    tunnel = SOURCED + 'forward = "tun"\ntun_type = "gue"\ntun_port = 6080\n'
    assert read(tunnel).services[0].real_servers == ()


def test_other_lists_change_their_services_and_no_others() -> None:
    memory = LastReading()
    text = (
        SOURCED + '[[service]]\nname = "b"\naddress = "192.0.2.100:81"\ncheck = "tcp"\nreal_server = ["198.51.100.1"]\n'
    )
    before = parse(text, "c.toml", memory=memory, lists={WEB: listed("198.51.100.11")})
    whole = memory.whole
    assert whole is not None
    same = relist(whole, memory, {WEB: listed("198.51.100.11")})
    assert [one is other for one, other in zip(before.services, same.services, strict=True)] == [True, True]
    after = relist(whole, memory, {WEB: listed("198.51.100.12")})
    assert [one is other for one, other in zip(before.services, after.services, strict=True)] == [False, True]
    assert servers(after.services[0]) == [("198.51.100.12:80", 1)]


def test_pool_whose_list_has_changed_is_read_again() -> None:
    memory = LastReading()
    text = '[pool.web]\nsource = { file = "/etc/web.list" }\n' + SERVICE + 'pool = "web"\n'
    parse(text, "c.toml", memory=memory, lists={})
    assert memory.whole is not None
    after = relist(memory.whole, memory, {WEB: listed("198.51.100.12")})
    assert servers(after.services[0]) == [("198.51.100.12:80", 1)]


def test_configuration_without_sources_is_not_kept() -> None:
    memory = LastReading()
    parse(SERVICE + 'real_server = ["198.51.100.1"]\n', "c.toml", memory=memory, lists={})
    assert memory.whole is None


def test_keys_of_etcd() -> None:
    text = SERVICE + 'real_server = ["198.51.100.11"]\nsource = { etcd = "web" }\n'
    fleet = '[fleet]\nstore = "https://etcd1:2379"\n'
    config = read(text + fleet)
    assert [str(each) for each in config.services[0].sources] == ["etcd web"]
    assert tomllib.loads(to_toml(config))["service"][0]["source"] == [{"etcd": "web"}]
    (error,) = errors_of(text)
    assert 'service "web" has servers from etcd; say where it is, below [fleet]: store = "https://etcd1' in error
    (error,) = errors_of(SERVICE + 'source = { etcd = "/lvs-healthd/web/" }\n' + fleet)
    assert 'source.etcd: expected a name such as "web", for the keys PREFIX/servers/web and' in error
