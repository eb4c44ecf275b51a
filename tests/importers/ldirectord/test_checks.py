"""Checks of ldirectord become checks that find the same."""

import base64
import os
import subprocess
from pathlib import Path

import pytest

from lvs_healthd.importers.account import Fate
from lvs_healthd.importers.ldirectord.perl import UntranslatableError, path, pattern
from tests.importers.ldirectord.files import asked, check_of, config, lines_with, read, remarks, services


def test_http() -> None:
    found = check_of('request="a b?x=1"\nreceive="O.K"\nvirtualhost="www.example.org"\nhttpmethod=head\nhttpmethod=get')
    assert found == {
        "type": "http",
        "path": "/a%20b?x=1",
        "host": "www.example.org",
        "redirects": 7,
        "body_regex": r"O[^\n]K",
        "interval": "10s",
        "timeout": "30s",
        "rise": 1,
        "fall": 1,
    }


def test_https_verifies_nothing() -> None:
    assert check_of("", virtual="192.0.2.1:443", real="198.51.100.1:443 masq")["verify"] is False


def test_receive_without_special_characters_is_a_text() -> None:
    assert check_of('receive="all is well"')["body"] == "all is well"


def test_receive_that_cannot_be_written_here_is_told() -> None:
    reading = read('virtual=192.0.2.1:80\n\treal=198.51.100.1:80 masq\n\treceive="a(?=b)"\n')
    assert "body_regex" not in services(reading)[0]["check"]
    assert lines_with(reading, Fate.DROPPED) == {3}
    assert "look-around" in remarks(reading)


@pytest.mark.parametrize(
    ("perl", "re2"),
    [
        (r"a.b", r"a[^\n]b"),
        (r"a\.b[.]", r"a\.b[.]"),
        (r"[]\].]+\Z", r"[]\].]+$"),
        (r"[[:digit:].]x.", r"[[:digit:].]x[^\n]"),
        (r"(?<n>x)\x41", r"(?P<n>x)\x41"),
    ],
)
def test_perl_expressions(perl: str, re2: str) -> None:
    assert pattern(perl) == re2


@pytest.mark.parametrize("perl", [r"a(?!b)", r"(a)\1", r"a++", r"\Qa.b\E", r"a\K", "a(", r"x\R"])
def test_perl_expressions_that_re2_lacks(perl: str) -> None:
    with pytest.raises(UntranslatableError):
        pattern(perl)


def test_path_as_perls_uri_writes_it() -> None:
    url = '/a b?x=<y>&%41"q"é|^`{}[]\\'  # what LWP::UserAgent 6.68 sends for it was recorded
    assert path(url) == "/a%20b?x=%3Cy%3E&%41%22q%22%C3%A9%7C%5E%60%7B%7D[]%5C"


def test_smtp_and_submission_speak_without_tls() -> None:
    assert check_of("", virtual="192.0.2.1:25")["type"] == "smtp"
    assert check_of("service=submission")["type"] == "smtp"


def test_pop_with_a_login() -> None:
    found = check_of('service=pop\nlogin="u"\npasswd="p"')
    assert [step["send"] for step in found["steps"] if "send" in step] == ["USER u\r\n", "PASS p\r\n", "QUIT\r\n"]


def test_pop_without_a_login_checks_nothing() -> None:
    assert "finds every server up" in asked("service=pop")
    assert "starttls = true" in asked("service=pops")


def test_imap_logs_in_with_quoted_words() -> None:
    found = check_of('service=imap\ncheckport=143\nlogin="u"\npasswd="a b\\c"')
    assert {"send": 'a LOGIN "u" "a b\\\\c"\r\n'} in found["steps"]


def test_imaps_verifies_the_certificate() -> None:
    found = check_of("service=imaps", real="198.51.100.1:993 masq")
    assert found["steps"][0] == {"starttls": True}
    assert "verify" not in found


def test_imap_goes_to_its_own_port_whatever_the_file_says() -> None:
    assert "goes to port 143, although the file says 1143" in asked("service=imap\ncheckport=1143")


@pytest.mark.parametrize("service", ["imap", "imaps"])
def test_imap_reaches_no_ipv6_address(service: str) -> None:
    text = f"virtual6=[2001:db8::1]:80\n\treal6=[2001:db8::2]:143 masq\n\tservice={service}\n"
    assert "reaches no IPv6 address" in remarks(read(text))


def test_ldap_search_is_that_of_net_ldap_without_attributes() -> None:
    found = check_of('service=ldap\nrequest="b=1"', real="198.51.100.1:389 masq")
    sent = [step["send_hex"] for step in found["steps"] if "send_hex" in step]
    assert sent[0] == "300c020101600702010304008000"  # as Net::LDAP 0.68 sends it
    # Net::LDAP: 3028 020102 6323 …; here five bytes more, which ask for no attributes.
    assert sent[1] == "302d02010263280403623d310a01000a0102020100020100010100870b6f626a656374436c61737330050403312e31"
    assert found["timeout"] == "5s"


def test_ldap_with_a_login_and_a_long_name() -> None:
    name = "cn=" + "x" * 200
    found = check_of(f'service=ldap\nlogin="{name}"\npasswd="p"', real="198.51.100.1:389 masq")
    sent = bytes.fromhex(found["steps"][0]["send_hex"])
    assert sent == b"\x30\x81\xda\x02\x01\x01\x60\x81\xd4\x02\x01\x03\x04\x81\xcb" + name.encode() + b"\x80\x01p"


def test_ldap_answer_that_can_never_match_is_asked_about() -> None:
    assert "what was meant?" in asked('service=ldap\nrequest="b=1"\nreceive="c=2"', real="198.51.100.1:389 masq")


def test_dns() -> None:
    found = check_of(
        'request="www.example.org"\nreceive="192\\.0\\.2\\.80"', virtual="192.0.2.1:53", real="198.51.100.1:53 masq"
    )
    assert (found["query"], found["query_type"], found["answer"]) == ("www.example.org", "A", "192.0.2.80")
    assert "over" not in found


def test_dns_without_receive_never_comes_up() -> None:
    assert "finds no server up" in asked('request="www.example.org"', virtual="192.0.2.1:53")


def test_nntp_needs_a_greeting_with_2() -> None:
    assert check_of("", virtual="192.0.2.1:119")["expect_regex"] == r"\A2"


def test_simpletcp() -> None:
    found = check_of('service=simpletcp\nrequest="PING\\n"\nreceive="^PONG.$"')
    assert (found["send"], found["expect_regex"]) == ("PING\n", r"(?m)^PONG[^\n]$")


def test_simpletcp_with_a_newline_and_without_receive_never_comes_up() -> None:
    assert "never come up" in asked('service=simpletcp\nrequest="PING\\n"')
    assert check_of('service=simpletcp\nrequest="PING"')["expect_regex"] == "."


def test_sip_over_udp_and_tcp() -> None:
    udp = check_of('protocol=udp\nservice=sip\nlogin="me@example.org"')
    assert udp["type"] == "udp"
    assert udp["send"].startswith("OPTIONS sip:me@example.org SIP/2.0\r\n")
    assert check_of("service=sip")["type"] == "tcp"


def test_proxy_is_asked_for_the_whole_url() -> None:
    found = check_of('service=http_proxy\nrequest="http://www.example.org/a"\nreceive="OK"')
    assert found["steps"][0]["send"] == "GET http://www.example.org/a HTTP/1.0\r\nHost: www.example.org\r\n\r\n"
    assert found["steps"][-1] == {"expect": "OK"}
    assert "whole URL" in asked('service=http_proxy\nrequest="/a"')


def test_own_request_that_goes_to_another_host_is_asked_about() -> None:
    assert "not to that server" in asked("", real='198.51.100.1:80 masq "http://www.example.org/", "x"')


def test_requests_of_servers_stand_at_the_servers() -> None:
    text = (
        "virtual=192.0.2.1:80\n"
        '\treal=198.51.100.1:80 masq "a", "one"\n\treal=198.51.100.2:80 masq\n\trequest="b"\n\treceive="t.o"\n'
    )
    first, second = config(read(text)).services[0].real_servers
    assert (first.checks[0].path, first.checks[0].body) == ("/a", "one")  # type: ignore[union-attr]
    assert (second.checks[0].path, second.checks[0].body_regex) == ("/b", r"t[^\n]o")  # type: ignore[union-attr]


def test_head_with_receive_never_comes_up() -> None:
    assert "never come up" in asked('httpmethod=HEAD\nreceive="x"')


def test_connect_is_a_ping_for_udp() -> None:
    assert check_of("checktype=connect")["type"] == "tcp"
    assert check_of("checktype=connect\nprotocol=udp")["type"] == "ping"


def test_several_pings_are_failures_that_follow_each_other() -> None:
    found = check_of("checktype=ping\ncheckcount=3\nfailurecount=2\nchecktimeout=4")
    assert (found["fall"], found["fast_interval"], found["timeout"]) == (6, "4s", "4s")


def test_pings_reach_no_ipv6_address() -> None:
    text = "virtual6=[2001:db8::1]:80\n\treal6=[2001:db8::2]:80 masq\n\tchecktype=ping\n"
    assert "reach no IPv6 address" in remarks(read(text))


def test_external_program_has_four_arguments() -> None:
    found = check_of("checktype=external\ncheckcommand=/bin/check", real="198.51.100.1:8080 masq")
    assert found["command"] == ["/bin/check", "192.0.2.1", "80", "{address}", "{port}"]
    found = check_of("checktype=external\ncheckcommand=/bin/check", virtual="7", real="198.51.100.1 gate")
    assert found["command"] == ["/bin/check", "7", "0", "{address}", "0"]


def test_external_perl_is_run_by_perl() -> None:
    assert check_of('checktype=external-perl\ncheckcommand="/x.pl"')["command"][:2] == ["/usr/bin/perl", "/x.pl"]


@pytest.mark.parametrize("command", ["", "checkcommand=/bin/check -x", "checkcommand=check"])
def test_external_program_that_does_not_run_is_asked_about(command: str) -> None:
    assert "checkcommand" in asked(f"checktype=external\n{command}") or "whole path" in asked(
        f"checktype=external\n{command}"
    )


@pytest.mark.parametrize("lines", ["service=none", "checktype=on", "checktype=3\nservice=none"])
def test_what_checks_nothing_is_asked_about(lines: str) -> None:
    assert "choose a check" in asked(lines).lower()


def test_negotiate_between_connects() -> None:
    text = "virtual=192.0.2.1:80\n\treal=198.51.100.1:80 masq\n\tchecktype=4\n\tcheckinterval=9\n"
    connect, negotiate = services(read(text))[0]["check"]
    assert (connect["type"], connect["interval"], connect["timeout"]) == ("tcp", "10s", "5s")
    assert (negotiate["type"], negotiate["interval"], negotiate["down_interval"]) == ("http", "50s", "10s")


def test_a_check_never_hurries() -> None:
    assert check_of("failurecount=3")["fast_interval"] == "10s"


@pytest.mark.parametrize("service", ["mysql", "pgsql", "radius", "oracle"])
def test_login_that_is_missing_is_asked_for(service: str) -> None:
    assert "without login" in asked(f'service={service}\nrequest="SELECT 1"')


def test_ftp_needs_receive_and_a_login() -> None:
    assert "finds every server up" in asked("service=ftp")
    text = 'request="x"\nreceive="y"'
    assert "without a name" in asked(text, virtual="192.0.2.1:21", real="198.51.100.1:21 masq")


FAKE = """#!/bin/sh
printf '%s\\n' "$@" >> "$LOG"
[ -z "$MYSQL_PWD$PGPASSWORD" ] || echo "password $MYSQL_PWD$PGPASSWORD" >> "$LOG"
[ ! -e /dev/fd/3 ] || cat /dev/fd/3 >> "$LOG"
[ -t 0 ] || cat >> "$LOG"
printf '%b' "$ANSWER"
exit "${STATUS:-0}"
"""
"""A program that writes down how it is called, and answers what it is told."""


def run(check: dict[str, object], folder: Path, program: str, answer: str, status: int = 0) -> tuple[int, str]:
    """Run a check's command with a program of that name in place of the real one. Returns its status and its call."""
    (folder / program).write_text(FAKE)
    (folder / program).chmod(0o755)
    log = folder / "log"
    command: list[str] = check["command"]  # type: ignore[assignment]
    words = [word.replace("{address}", "198.51.100.1").replace("{port}", "99") for word in command]
    variables = {"LVS_ADDRESS": "198.51.100.1", "LVS_PORT": "99", "LOG": str(log), "ANSWER": answer}
    own: dict[str, str] = check["environment"]  # type: ignore[assignment]
    done = subprocess.run(
        words,
        env={**variables, **own, "STATUS": str(status), "PATH": f"{folder}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=30,
    )
    return done.returncode, log.read_text()


@pytest.mark.parametrize(("service", "program"), [("mysql", "mysql"), ("pgsql", "psql")])
def test_query_passes_with_a_row_and_fails_without(service: str, program: str, tmp_path: Path) -> None:
    check = check_of(f'service={service}\nlogin="u"\npasswd="it\'s"\ndatabase="d e"\nrequest="SELECT 1"')
    status, call = run(check, tmp_path, program, "1\\n")
    assert status == 0
    assert "--host=198.51.100.1\n--port=99\n" in call
    assert "d e\n" in call
    assert "password it's\n" in call
    assert run(check, tmp_path, program, "\\n")[0] == 0  # one row, with an empty text
    assert run(check, tmp_path, program, "")[0] != 0


def test_radius_passes_if_the_client_says_so(tmp_path: Path) -> None:
    check = check_of('service=radius\nlogin="u"\npasswd="p"w"\nsecret="s$x"', real="198.51.100.1:1812 masq")
    status, call = run(check, tmp_path, "radclient", "")
    assert status == 0
    assert "198.51.100.1:99\nauth\n" in call
    assert "s$x\n" in call
    assert 'User-Name = "u", User-Password = "p\\"w"' in call
    assert run(check, tmp_path, "radclient", "", status=1)[0] == 1


def test_ftp_passes_if_the_file_matches(tmp_path: Path) -> None:
    check = check_of('service=ftp\nrequest="a b"\nreceive="^Wel(?=come)"', real="198.51.100.1:21 masq")
    status, call = run(check, tmp_path, "curl", "Welcome\\n")
    assert status == 0
    assert "ftp://198.51.100.1:99//a%20b\n" in call
    assert 'user = "anonymous:ldirectord@director"' in call
    assert run(check, tmp_path, "curl", "none\\n")[0] != 0
    assert run(check, tmp_path, "curl", "")[0] != 0


def test_passwords_are_in_no_arguments() -> None:
    secret = base64.b64encode(b"quite secret").decode()
    for service, real in (("ftp", ":21"), ("mysql", ":3306"), ("radius", ":1812")):
        lines = f'service={service}\nlogin="u"\npasswd="{secret}"\nsecret="{secret}"\nrequest="x"\nreceive="y"'
        assert not any(secret in word for word in check_of(lines, real=f"198.51.100.1{real} masq")["command"])


def test_checks_that_differ_in_more_than_a_request_stand_at_each_server() -> None:
    reals = '\treal=198.51.100.1:53 masq "a.example.org", "192.0.2.1"\n\treal=198.51.100.2:53 masq\n'
    reading = read(f'virtual=192.0.2.1:53\n{reals}\trequest="b.example.org"\n\treceive="192.0.2.2"\n')
    found = config(reading).services[0].real_servers
    asked_for = [server.checks[0].query for server in found]  # type: ignore[union-attr]
    assert asked_for == ["a.example.org", "b.example.org"]
    reals = "\treal=198.51.100.1:80 masq\n\treal=198.51.100.2 masq\n"
    reading = read(f"virtual=192.0.2.1:80\n{reals}\tchecktype=external\n\tcheckcommand=/x\n")
    found = config(reading).services[0].real_servers
    assert [server.checks[0].command[-1] for server in found] == ["{port}", "0"]  # type: ignore[union-attr]


def test_empty_callback_is_taken() -> None:
    assert not read('callback=""\nvirtual=192.0.2.1:80\n\treal=198.51.100.1:80 masq\n').account.has_refused
