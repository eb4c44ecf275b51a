import pytest

from lvs_healthd.director.advice import CONN_MAX, READ, advise
from tests.config.reading import read, service

LIMIT = "net.ipv4.vs.conn_max"
GOOD = dict.fromkeys(READ, "1") | {LIMIT: str(CONN_MAX)}
NODEST = "net.ipv4.vs.expire_nodest_conn"
QUIESCENT = "net.ipv4.vs.expire_quiescent_template"


def advised(text: str, **bad: str | None) -> list[str]:
    values = GOOD | {name.replace("__", "."): value for name, value in bad.items()}
    return [each.name for each in advise(read(text), values)]


def test_good_values_need_no_advice() -> None:
    assert advised(service()) == []


QUIESCE = 'on_failure = "quiesce"'


@pytest.mark.parametrize(
    ("keys", "name", "is_told"),
    [
        ("", NODEST, True),
        ('protocol = "udp"', NODEST, True),
        ('protocol = "udp"\none_packet = true', NODEST, False),  # it has no connections that could outlive their server
        (QUIESCE, NODEST, False),
        (QUIESCE, QUIESCENT, False),
        (f'{QUIESCE}\npersistence = "5m"', QUIESCENT, True),
        ('persistence = "5m"', QUIESCENT, False),
        ("", "net.ipv4.ip_forward", True),
        ('forward = "fullnat"', "net.ipv4.ip_forward", True),
        ('forward = "dr"', "net.ipv4.ip_forward", False),
        ("", "net.ipv6.conf.all.forwarding", False),
    ],
)
def test_each_sysctl_where_it_matters(keys: str, name: str, is_told: bool) -> None:
    assert advised(service(keys), **{name.replace(".", "__"): "0"}) == [name] * is_told


@pytest.mark.parametrize("keys", ["", QUIESCE, 'protocol = "udp"\none_packet = true', 'forward = "dr"'])
@pytest.mark.parametrize("value", ["0", "65536", str(CONN_MAX - 1)])
def test_a_limit_on_connections_below_the_kernel_s_own_concerns_every_service(keys: str, value: str) -> None:
    assert advised(service(keys), net__ipv4__vs__conn_max=value) == [LIMIT]


def test_a_configured_limit_on_connections_is_somebody_s_decision() -> None:
    assert advised(f"[ipvs.sysctl]\nconn_max = 65536\n{service()}", net__ipv4__vs__conn_max="65536") == []


def test_a_kernel_without_a_limit_on_connections_needs_no_advice() -> None:
    assert advised(service(), net__ipv4__vs__conn_max=None) == []


def test_advice_tells_the_value_found() -> None:
    (advice,) = advise(read(service()), GOOD | {LIMIT: "65536"})
    assert (advice.value, advice.text.endswith(f"conn_max = {CONN_MAX}")) == ("65536", True)


@pytest.mark.parametrize("value", ["true", "false"])
def test_what_is_configured_is_somebody_s_decision(value: str) -> None:
    text = f"[ipvs.sysctl]\nexpire_nodest_conn = {value}\n{service()}"
    assert advised(text, net__ipv4__vs__expire_nodest_conn="0", net__ipv4__ip_forward="0") == ["net.ipv4.ip_forward"]


def test_ipv6_has_a_switch_of_its_own() -> None:
    text = service('address = "[2001:db8::1]:80"', servers='["[2001:db8::11]"]')
    assert advised(text, net__ipv6__conf__all__forwarding="0", net__ipv4__ip_forward="0") == [
        "net.ipv6.conf.all.forwarding"
    ]


def test_what_cannot_be_read_is_no_reason_for_advice() -> None:
    assert list(advise(read(service()), {})) == []
    assert list(advise(read(service()), dict.fromkeys(READ))) == []


def test_advice_names_a_service_and_what_to_write() -> None:
    (advice,) = advise(read(service()), GOOD | {NODEST: "0"})
    assert advice.service == "web"
    assert advice.text.endswith("[ipvs.sysctl] expire_nodest_conn = true")
