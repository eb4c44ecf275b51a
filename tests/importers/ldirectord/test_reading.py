"""Lines of ldirectord.cf are read as ldirectord reads them."""

import pytest

from lvs_healthd.importers.account import Fate, Place
from tests.importers.ldirectord.files import NAME, config, lines_with, read, refused, remarks, services

BLOCK = "virtual=192.0.2.1:80\n\treal=198.51.100.1:80 masq\n"


def block(*lines: str, first: str = "virtual=192.0.2.1:80", real: str = "real=198.51.100.1:80 masq") -> str:
    return "\n".join([first, f"\t{real}", *(f"\t{line}" for line in lines)]) + "\n"


def test_line_of_four_blanks_ends_a_block_and_one_of_five_is_refused() -> None:
    assert refused(read(BLOCK + "    \n\tscheduler=rr\n")) == {4}
    assert refused(read(BLOCK + "     \n\tscheduler=rr\n")) == {3}


def test_comments_end_no_block() -> None:
    reading = read(BLOCK + "# a\n   # b\n\tscheduler=rr\n")
    assert services(reading)[0]["scheduler"] == "rr"
    assert reading.account.fates(Place(NAME, 3)) == {Fate.EMPTY}


def test_comment_in_a_block_cuts_a_line_and_outside_it_does_not() -> None:
    assert not refused(read(block("quiescent=yes# well")))
    assert refused(read(block("quiescent=yes # well"))) == {3}
    assert refused(read("quiescent=yes# well\n")) == {1}


def test_globals_below_a_block_count_for_it() -> None:
    (service,) = services(read(BLOCK + "failurecount=4\nquiescent=yes\n"))
    assert (service["check"]["fall"], service["on_failure"]) == (4, "quiesce")


def test_last_of_several_lines_counts_and_the_others_are_told() -> None:
    reading = read(block("scheduler=rr", "scheduler=lc"))
    assert services(reading)[0]["scheduler"] == "lc"
    assert lines_with(reading, Fate.IGNORED) == {3}


@pytest.mark.parametrize("key", ["scheduler=rr", "checktype=ping", "service=http", "real=198.51.100.1:80 masq"])
def test_keys_of_a_block_are_refused_outside_one(key: str) -> None:
    assert refused(read(f"{key}\n")) == {1}


@pytest.mark.parametrize(
    "value",
    ["5m", "1.5", "500ms", "-3", "3,5", "3 minutes", "x7"],
)
def test_number_of_which_only_a_part_counts_is_asked_about(value: str) -> None:
    reading = read(block(f"checktimeout={value}"))
    assert refused(reading) == {3}
    assert "what was meant?" in remarks(reading)


@pytest.mark.parametrize("value", ["3", " 3 ", "3s", "3 sec", "3 # seconds"])
def test_number_that_is_what_it_looks_like_is_taken(value: str) -> None:
    (service,) = services(read(f"checktimeout={value}\n{BLOCK}"))
    assert service["check"]["timeout"] == "3s"


@pytest.mark.parametrize("key", ["checktimeout", "negotiatetimeout", "checkinterval", "failurecount", "checkcount"])
def test_zero_is_refused(key: str) -> None:
    assert refused(read(f"{key}=0\n")) == {1}
    assert refused(read(block(f"{key}=0"))) == {3}


@pytest.mark.parametrize(
    "line",
    [
        "request='/a'",
        "request=/a",
        'request=""',
        "receive=ok",
        "login=probe",
        "connecttimeout=3",
        "quiescent=Yes",
        "checktype=Negotiate",
        "service=gopher",
        "httpmethod=POST",
        "protocol=sctp",
        "protocol=fwm",
        "checkport=0",
        "checkport=65536",
        "scheduler=",
        "netmask=24",
        "real6=[2001:db8::1]:80 masq",
        "fallback6=[2001:db8::1]:80",
        "fallback=198.51.100.9 nat",
        "real=198.51.100.1:80",
        "real=198.51.100.2:80 MASQ",
        "real=198.51.100.2:80 masq x",
        'real=198.51.100.2:80 masq "a"',
        "real=198.51.100.9->198.51.100.2:80 masq",
        "real=nowhere.example.org:80 masq",
        "real=198.51.100.2:gopher masq",
        "emailalertstatus=all,none",
        "nonsense",
    ],
)
def test_what_the_program_refuses_is_refused(line: str) -> None:
    reading = read(block(line))
    assert refused(reading) == {3}
    assert reading.text == ""


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("scheduler=Wlc", 3),
        ("scheduler=wlc,rr", 3),
        ("scheduler=wlx", 3),
        ("schedflags=sh-port", 3),
        ("persistent=0", 3),
        ("service=http https", 3),
        ("checktype=conect2", 3),
        ("real=198.51.100.2:80,198.51.100.3:80 masq", 3),
        ("real=127.0.0.1:80 masq", 3),
        ("real=198.51.100.1:80 masq 2", 3),
        ("real=198.51.100.2:80 masq 65536", 3),
        ("real=10.0.0.0->11.0.0.0:80 masq", 3),
        ("fallback=198.51.100.8:80 198.51.100.9:80 masq", 3),
    ],
)
def test_what_the_program_takes_otherwise_is_asked_about(line: str, number: int) -> None:
    reading = read(block(line))
    assert refused(reading) == {number}
    assert (
        "meant" in remarks(reading)
        or "write one line" in remarks(reading)
        or "which" in remarks(reading)
        or ("ipvsadm refuses -p 0" in remarks(reading))
    )


@pytest.mark.parametrize(
    "value", ["192.0.2.1", "192.0.2.1 # web", "0", "4294967296", "192.0.2.1:80,443", "192.0.2.1:80 10.0.0.1"]
)
def test_virtual_of_which_only_a_part_counts_is_asked_about(value: str) -> None:
    assert refused(read(block(first=f"virtual={value}"))) == {1}


@pytest.mark.parametrize("value", ["", "www.example.org", "[2001:db8::1]:80", "192.0.2.1:gopher", "x.example.org:80"])
def test_wrong_virtual_is_refused(value: str) -> None:
    assert refused(read(block(first=f"virtual={value}"))) == {1}


def test_all_wrong_lines_are_named_at_once() -> None:
    text = "timeout=3\n" + block("scheduler=", "real=198.51.100.3:80 dr")
    assert refused(read(text)) == {1, 4, 5}


def test_indented_virtual_is_refused_with_the_reason() -> None:
    reading = read(" virtual=192.0.2.1:80\n")
    assert refused(reading) == {1}
    assert "first column" in remarks(reading)


def test_names_are_looked_up() -> None:
    text = block(first="virtual=www.example.org:http", real="real=one.example.org:www masq")
    reading = read(text, {"www.example.org": "192.0.2.7", "one.example.org": "198.51.100.7"})
    (service,) = config(reading).services
    assert (str(service.endpoint), str(service.real_servers[0].endpoint)) == ("192.0.2.7:80", "198.51.100.7:80")


def test_words_of_a_server_in_the_wrong_order_are_passed_over_and_told() -> None:
    reading = read(block(real="real=198.51.100.1:80 masq 3 u:10 l:5"))
    (server,) = config(reading).services[0].real_servers
    assert (server.weight, server.upper_threshold, server.lower_threshold) == (3, 0, 0)
    assert "'u:10' stands where ldirectord does not look for it" in remarks(reading)


def test_server_that_is_there_twice_is_taken_once() -> None:
    reading = read(block("real=198.51.100.1:80 masq"))
    assert len(config(reading).services[0].real_servers) == 1
    assert lines_with(reading, Fate.IGNORED) == {3}


def test_range_of_servers() -> None:
    reading = read(block(real="real=198.51.100.9->198.51.100.11:8080 masq 5"))
    servers = config(reading).services[0].real_servers
    assert [(str(each.endpoint), each.weight) for each in servers] == [
        ("198.51.100.9:8080", 5),
        ("198.51.100.10:8080", 5),
        ("198.51.100.11:8080", 5),
    ]


@pytest.mark.parametrize(
    ("first", "real", "lines", "address", "port"),
    [
        ("virtual=192.0.2.1:80", "198.51.100.1:8080 masq", (), "198.51.100.1:8080", 8080),
        ("virtual=192.0.2.1:80", "198.51.100.1:8080 gate", (), "198.51.100.1:80", 8080),
        ("virtual=192.0.2.1:8080", "198.51.100.1 masq", ("service=http",), "198.51.100.1:8080", 80),
        ("virtual=7", "198.51.100.1:8080 masq", ("service=http",), "198.51.100.1:8080", 8080),
        ("virtual=7", "198.51.100.1:8080 masq", ("service=http", "persistent=9"), "198.51.100.1", 8080),
        ("virtual=7", "198.51.100.1 gate", ("service=http", "checkport=81"), "198.51.100.1", 81),
    ],
)
def test_port_in_the_table_and_port_that_is_probed(
    first: str, real: str, lines: tuple[str, ...], address: str, port: int
) -> None:
    (server,) = config(read(block(*lines, first=first, real=f"real={real}"))).services[0].real_servers
    assert f"{server.endpoint}".removesuffix(":0") == address
    assert server.checks[0].port == port


def test_global_fallback_serves_all_services_but_marks_and_those_with_their_own() -> None:
    text = (
        "fallback=198.51.100.9 masq\n"
        + block()
        + block(first="virtual=7")
        + block("fallback=198.51.100.8", first="virtual=192.0.2.2:80")
    )
    reading = read(text)
    found = [[str(each.endpoint) for each in service.fallback] for service in config(reading).services]
    assert found == [["198.51.100.9:80"], [], ["198.51.100.8:80"]]
    assert lines_with(reading, Fate.IGNORED) == {1}


@pytest.mark.parametrize("fallback", ["127.0.0.1:80 masq", "198.51.100.1:80 masq"])
def test_fallback_that_cannot_serve_is_left_out_and_told(fallback: str) -> None:
    reading = read(block(f"fallback={fallback}"))
    assert config(reading).services[0].fallback == ()
    assert lines_with(reading, Fate.DROPPED) == {3}


def test_bare_supervised_is_taken() -> None:
    assert read(f"supervised\n{BLOCK}").account.is_lossless


def test_details_of_mails_count_only_with_an_address() -> None:
    assert lines_with(read(f"emailalertfreq=30\n{BLOCK}"), Fate.IGNORED) == {1}
    assert lines_with(read(f"emailalertfreq=30\nemailalert=a@example.org\n{BLOCK}"), Fate.DROPPED) == {1, 2}


@pytest.mark.parametrize(
    "line",
    [
        'callback="/usr/local/bin/sync"',
        "autoreload=yes",
        'logfile="local0"',
        "execute=other.cf",
        "cleanstop=yes",
        "readdquiescent=yes",
        "fallbackcommand=/usr/local/bin/sorry",
        "maintenancedir=relative",
    ],
)
def test_what_has_no_counterpart_is_told(line: str) -> None:
    assert lines_with(read(f"{line}\n{BLOCK}"), Fate.DROPPED) == {1}


@pytest.mark.parametrize("line", ["autoreload=no", "cleanstop=no", "readdquiescent=no", "fork=yes", "supervised=yes"])
def test_what_is_so_anyway_is_no_loss(line: str) -> None:
    assert read(f"{line}\n{BLOCK}").account.is_lossless


def test_maintenance_folder_stays() -> None:
    reading = read(f"maintenancedir=/etc/ha.d/maintenance\n{BLOCK}")
    assert config(reading).daemon.maintenance_dir == "/etc/ha.d/maintenance"


def test_service_without_servers_is_left_out_and_told() -> None:
    reading = read("virtual=192.0.2.1:80\n\tscheduler=rr\n" + block(first="virtual=192.0.2.2:80"))
    assert [str(each.endpoint) for each in config(reading).services] == ["192.0.2.2:80"]
    assert lines_with(reading, Fate.DROPPED) == {1}


def test_comment_above_a_service_names_its_lines() -> None:
    reading = read("# x\n" + block("servicename=Shop", "comment=All of it"))
    assert f"# from {NAME}, lines 2-5\n# servicename: Shop\n# comment: All of it\n[[service]]" in reading.text


@pytest.mark.parametrize("value", ["", "all,,", "starting, running"])
def test_empty_words_at_the_end_of_a_list_count_for_nothing(value: str) -> None:
    assert not refused(read(f"emailalertstatus={value}\n{BLOCK}"))


@pytest.mark.parametrize("value", ["all ", ",all", "x"])
def test_wrong_words_of_a_list_are_refused(value: str) -> None:
    assert refused(read(f"emailalertstatus={value}\n{BLOCK}")) == {1}


def test_port_0_needs_persistence() -> None:
    assert refused(read(block(first="virtual=192.0.2.1:0"))) == {1}
    assert not refused(read(block("persistent=300", first="virtual=192.0.2.1:0")))


def test_port_name_of_the_other_protocol_is_refused() -> None:
    assert refused(read(block("protocol=udp", first="virtual=192.0.2.1:http"))) == {1}


def test_unused_key_needs_a_word_all_the_same() -> None:
    assert refused(read(block('load="-"'))) == {3}
    assert lines_with(read(block('load="x"')), Fate.IGNORED) == {3}


NINES = "9" * 5000


@pytest.mark.parametrize(
    "line",
    [
        f"failurecount={NINES}",
        f"checkport={NINES}",
        f"persistent={NINES}",
        f"real=198.51.100.2:80 masq {NINES}",
        f"real=198.51.100.2:80 masq l:1 u:{NINES}",
        "real=198.51.100.2:80 masq l:1 u:4294967296",
        f"real=198.51.100.2:{NINES} masq",
    ],
)
def test_number_that_is_too_long_is_refused(line: str) -> None:
    assert refused(read(block(line))) == {3}
    assert refused(read(block(first=f"virtual={NINES}"))) == {1}


def test_every_fallback_of_a_block_needs_a_method_that_there_is() -> None:
    assert refused(read(block("fallback=198.51.100.9 dr", "fallback=198.51.100.8"))) == {3}
    reading = read(block("fallback=198.51.100.9", "fallback=198.51.100.8"))
    assert [str(each.endpoint) for each in config(reading).services[0].fallback] == ["198.51.100.8:80"]
    assert lines_with(reading, Fate.IGNORED) == {3}


@pytest.mark.parametrize("line", ["fallback=", "fallback=:80"])
def test_fallback_without_an_address_is_asked_about(line: str) -> None:
    assert refused(read(block(line))) == {3}
