"""What a keepalived.conf says becomes a configuration that does the same, or is told."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import tomli

from lvs_healthd.config.load import parse
from lvs_healthd.importers.account import Account, Fate, Place, RefusedError
from lvs_healthd.importers.draft import Imported
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.checkers import checker
from lvs_healthd.importers.keepalived.reading import imported
from lvs_healthd.importers.keepalived.told import Told
from lvs_healthd.importers.keepalived.urls import url
from lvs_healthd.importers.source import Source

NAME = "keepalived.conf"
SERVER = "real_server 198.51.100.11 80 {\n%s\n}\n"
SERVICE = "virtual_server 192.0.2.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n%s}\n"


def made(text: str) -> Imported:
    return imported(Source(NAME, text, Path("/nonexistent")))


def service(inside: str) -> dict[str, Any]:
    """Return the service that a virtual server with these lines becomes. It is valid."""
    text = made(SERVICE % inside).text
    parse(text, "imported.toml")
    (found,) = tomli.loads(text)["service"]
    assert isinstance(found, dict)
    return found


def check(inside: str) -> dict[str, Any]:
    """Return the check that a checker with these lines becomes."""
    found = service(SERVER % inside)["check"]
    assert isinstance(found, dict)
    return found


def refusals(text: str) -> list[str]:
    with pytest.raises(RefusedError) as error:
        made(text)
    return list(error.value.errors)


def test_times_and_counts_of_a_check() -> None:
    assert check("delay_loop 2.5\nTCP_CHECK {\nconnect_timeout 0.5\nretry 3\ndelay_before_retry 0.75\n}") == {
        "type": "tcp",
        "interval": "2500ms",
        "timeout": "500ms",
        "rise": 1,
        "fall": 4,
        "fast_interval": "750ms",
    }


def test_a_check_without_retries_falls_at_once() -> None:
    found = check("TCP_CHECK {\nretry 0\n}")
    assert found["fall"] == 1
    assert "fast_interval" not in found


def test_smtp_inherits_only_the_timeout_that_is_written_above_it() -> None:
    found = service(f"connect_timeout 2\n{SERVER % 'SMTP_CHECK {}'}connect_timeout 9\n")["check"]
    assert found["timeout"] == "2s"
    assert service(f"{SERVER % 'SMTP_CHECK {}'}connect_timeout 9\n")["check"]["timeout"] == "5s"
    assert service(f"{SERVER % 'TCP_CHECK {}'}connect_timeout 9\n")["check"]["timeout"] == "9s"


def test_several_urls_are_requests_of_one_probe_with_as_much_time_each() -> None:
    urls = "url {\npath /a\nstatus_code 200\nstatus_code 301-302\n}\nurl {\npath /b\nregex x\nregex_no_match\n}"
    found = check(f"HTTP_GET {{\nconnect_timeout 2\nvirtualhost www.example.org\n{urls}\n}}")
    assert found["timeout"] == "4s"
    assert found["requests"] == [{"path": "/a", "status": ["200", "301-302"]}, {"path": "/b", "absent_regex": "x"}]
    assert (found["host"], found["http_version"]) == ("www.example.org", "1.0")


def test_a_dot_of_pcre_is_no_newline() -> None:
    found = check('HTTP_GET {\nurl {\npath /\nregex "a.b\\\\d"\nregex_options caseless\n}\n}')
    assert found["body_regex"] == r"(?i-s)a.b\d"


def test_an_expression_that_re2_cannot_have_is_told() -> None:
    found = made(SERVICE % (SERVER % 'HTTP_GET {\nurl {\npath /\nregex "a(?=b)"\n}\n}'))
    assert "body_regex" not in found.text
    assert not found.is_lossless
    assert any("left out" in line and "look-around" in line for line in found.remarks)


def test_the_host_header_is_the_servers_own_address_with_its_port() -> None:
    assert check("HTTP_GET {\nurl {\npath /\n}\n}")["host"] == "198.51.100.11:80"


def test_https_is_not_verified_as_keepalived_does_not() -> None:
    found = check("SSL_GET {\nvirtualhost www.example.org\nurl {\npath /\n}\n}")
    assert (found["type"], found["verify"]) == ("https", False)


def test_udp_compares_the_beginning_of_a_reply_and_its_length() -> None:
    found = check("UDP_CHECK {\npayload 0a 1 2\nrequire_reply 0aXX 5X\nmin_reply_length 5\n}")
    assert found["send_hex"] == "0a 01 02"
    byte = "[" + "".join(f"\\x5{digit:x}" for digit in range(16)) + "]"
    assert found["expect_regex"] == rf"\A\x0a.{byte}.{{2,252}}\z"
    assert found["max_answer"] == 256


def test_udp_that_wants_nothing_has_time_enough() -> None:
    assert check("UDP_CHECK {\n}")["timeout"] == "5s"
    found = made(SERVICE % (SERVER % "UDP_CHECK {\nconnect_timeout 1\n}"))
    assert 'timeout = "4s"' in found.text
    assert any("timeout cannot be 1 s" in line for line in found.remarks)


def test_misc_check_is_a_program_in_keepaliveds_convention() -> None:
    found = check("MISC_CHECK {\nmisc_path \"/bin/true -a 'b c'\"\nmisc_dynamic\nmisc_timeout 7\n}")
    assert found["command"] == ["/bin/true", "-a", "b c"]
    assert (found["convention"], found["dynamic_weight"], found["timeout"]) == ("keepalived", True, "7s")


def test_a_command_that_versions_read_differently_is_refused() -> None:
    assert (
        "backslashes differently"
        in refusals(SERVICE % (SERVER % ('MISC_CHECK {\nmisc_path "/bin/true \\"a b\\""\n}')))[0]
    )


def test_a_program_that_is_not_there_is_told() -> None:
    found = made(SERVICE % (SERVER % "MISC_CHECK {\nmisc_path /nonexistent/check\n}"))
    assert any("cannot be executed here" in line for line in found.remarks)
    assert not found.is_lossless


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("DNS_CHECK {\nname a.example.org\n}", "DNS_CHECK {\nname b.example.org\n}"),
        ("MISC_CHECK {\nmisc_path /bin/true\n}", "MISC_CHECK {\nmisc_path /bin/false\n}"),
        ("delay_loop 10\nTCP_CHECK {\ndelay_before_retry 5\n}", "delay_loop 20\nTCP_CHECK {\ndelay_before_retry 5\n}"),
        ("UDP_CHECK {\npayload 01\nrequire_reply 02\n}", "UDP_CHECK {\npayload 03\nrequire_reply 02\n}"),
    ],
)
def test_what_differs_and_cannot_be_absent_is_not_shared(first: str, second: str) -> None:
    found = service(SERVER % first + (SERVER % second).replace(".11 80", ".12 80"))
    assert "check" not in found
    assert all("type" in server["check"] for server in found["real_server"])


def test_quorum_and_sorry_server() -> None:
    found = service(
        f"quorum 2\nhysteresis 1\nsorry_server 198.51.100.99 8080\n{SERVER % 'weight 3' + SERVER % ''}".replace(
            "weight 3", "weight 3\nTCP_CHECK {}", 1
        ).replace("198.51.100.11 80 {\n\n", "198.51.100.12 80 {\nTCP_CHECK {}\n")
    )
    assert found["min_up"] == {"weight": 2, "hysteresis": 1}
    assert found["fallback"] == [{"address": "198.51.100.99:8080"}]
    assert found["real_server"] == [{"address": "198.51.100.11", "weight": 3}, {"address": "198.51.100.12"}]


def test_a_quorum_of_servers_without_weight_is_none() -> None:
    assert "min_up" not in service(f"hysteresis 1\n{SERVER % ('weight 0' + chr(10) + 'TCP_CHECK {}')}")


def test_a_server_without_a_check_is_asked_for_one() -> None:
    found = made(SERVICE % (SERVER % "weight 2"))
    assert "# 198.51.100.11: how is it known that this server is well?" in found.text
    assert not found.is_lossless


def test_two_servers_that_become_the_same_are_refused() -> None:
    two = SERVER % "TCP_CHECK {}" + (SERVER % "TCP_CHECK {}").replace(" 80 {", " 8080 {")
    errors = refusals((SERVICE % two).replace("NAT", "DR"))
    assert len(errors) == 1
    assert "another real server too" in errors[0]


def test_a_mask_in_a_group_has_no_effect() -> None:
    text = "virtual_server_group G {\n192.0.2.1 80\n}\n" + (SERVICE % (SERVER % "TCP_CHECK {}")).replace(
        "192.0.2.1 80", "group G"
    ).replace("lb_algo rr", "lb_algo rr\npersistence_granularity 255.255.255.0")
    found = made(text)
    (one,) = tomli.loads(found.text)["service"]
    assert one["persistence"] == "360s"
    assert "persistence_mask" not in one
    assert any("whatever the mask is" in line for line in found.remarks)


def test_a_probe_of_the_other_family_is_not_bound_to_the_address() -> None:
    found = made(SERVICE % (SERVER % "TCP_CHECK {\nbindto 2001:db8::1\n}"))
    assert "source" not in found.text
    assert any("other family" in line for line in found.remarks)


def test_words_that_keepalived_passes_over_are_told() -> None:
    found = made(SERVICE % (SERVER % "weight 2 retry 3\nTCP_CHECK {}"))
    assert any("passes over 'retry 3' behind weight" in line for line in found.remarks)


def test_a_block_that_is_never_closed_is_refused() -> None:
    errors = refusals("virtual_server 192.0.2.1 80 {\nprotocol TCP\n" + SERVER % "TCP_CHECK {}")
    assert errors == [f"{NAME}:1: refused: its block is never closed; where should its }} be?"]


def test_a_block_without_its_brace_is_refused() -> None:
    errors = refusals(SERVICE % (SERVER % "TCP_CHECK\nweight 1"))
    assert any("no { follows" in error for error in errors)


def test_a_keyword_without_its_word_is_refused() -> None:
    assert "a word is missing behind delay_loop" in refusals(SERVICE % f"delay_loop\n{SERVER % 'TCP_CHECK {}'}")[0]


def test_a_url_without_a_path_is_refused() -> None:
    account = Account({NAME: ["", "", ""]})
    assert url(Told(account), Node("url", [], "url", Place(NAME, 1))) is None
    assert account.fates(Place(NAME, 1)) == {Fate.REFUSED}


def test_a_host_block_is_refused() -> None:
    account = Account({NAME: [""] * 3})
    host = Node("host", [], "host", Place(NAME, 2), nodes=[Node("connect_ip", ["203.0.113.1"], "", Place(NAME, 3))])
    checker(
        Told(account), Node("SMTP_CHECK", [], "SMTP_CHECK", Place(NAME, 1), nodes=[host]), ip_address("198.51.100.1")
    )
    assert account.fates(Place(NAME, 2)) == account.fates(Place(NAME, 3)) == {Fate.REFUSED}


def test_file_check_and_bfd_check_are_told() -> None:
    text = "track_file F {\nfile /run/state\nweight 0\n}\n" + SERVICE % (
        SERVER % "FILE_CHECK {\ntrack_file F\n}\nTCP_CHECK {}"
    )
    found = made(text)
    assert '"/run/state",' in found.text
    assert any("missing or no number" in line for line in found.remarks)
    found = made(text.replace("weight 0", "weight 2"))
    assert "/run/state" not in found.text


def test_settings_of_ipvs_in_global_defs() -> None:
    text = "net_namespace_ipvs lvs\nglobal_defs {\nrouter_id x\nlvs_timeouts tcp 900 udp 30\n}\n"
    found = tomli.loads(made(text + SERVICE % (SERVER % "TCP_CHECK {}")).text)
    assert found["ipvs"] == {"netns": "lvs", "timeouts": {"tcp": "900s", "udp": "30s"}}


OTHER = SERVICE.replace("192.0.2.1 80", "192.0.2.2 80")


@pytest.mark.parametrize(
    ("text", "is_suspended"),
    [
        (SERVICE % f"ha_suspend\n{SERVER % 'TCP_CHECK {}'}", True),
        (SERVICE % f"ha_suspend\n{SERVER % 'TCP_CHECK {}'}" + OTHER % f"ha_suspend\n{SERVER % 'TCP_CHECK {}'}", True),
        (SERVICE % f"ha_suspend\n{SERVER % 'TCP_CHECK {}'}" + OTHER % (SERVER % "TCP_CHECK {}"), False),
        ("virtual_server fwmark 7 {\nlb_kind NAT\nha_suspend\n%s}\n" % (SERVER % "TCP_CHECK {}"), False),
    ],
)
def test_checks_are_suspended_on_a_backup_only_if_keepalived_suspends_all(text: str, *, is_suspended: bool) -> None:
    found = made(text)
    assert found.is_lossless == is_suspended
    assert any("keepalived suspends the checks" in line for line in found.remarks) == (not is_suspended)
    pair = parse(found.text, "imported.toml").pair
    assert (pair.active_when, pair.standby) == (("vip-present", "suspend") if is_suspended else ("always", "warm"))
