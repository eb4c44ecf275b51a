"""What an exec check asks for: arguments, environment, what is remembered from run to run, and what an end means."""

import msgspec
import pytest

from lvs_healthd.config.basics import Endpoint, canonical_address
from lvs_healthd.config.check_model import Convention, ExecCheck, MonNames, Per
from lvs_healthd.probes import mon
from lvs_healthd.probes.exchange import Exchange
from lvs_healthd.probes.outcome import AskedWeight, MonitorRun, Outcome, OutcomeKind, Reason, down, unsure, up
from lvs_healthd.probes.programs import ENVIRONMENT, program_runs
from lvs_healthd.probes.targets import targets
from lvs_healthd.programs.messages import Answer, Finished, NotRun, Request, Started, line
from lvs_healthd.programs.running import MOST_OUTPUT
from tests.config.reading import read, service

TWO_SERVERS = '["192.0.2.1:80", "192.0.2.2:81"]'
ONE, TWO, THREE = Endpoint("192.0.2.1", 80), Endpoint("192.0.2.2", 80), Endpoint("2001:db8::3", 80)


def request(exchange: Exchange) -> Request:
    """Begin a conversation, and return what it asks for."""
    step = exchange.connected()
    assert isinstance(step, bytes)
    return msgspec.json.decode(step, type=Request)


def requests(text: str) -> list[Request]:
    """Return what each probe of a configuration asks for at first, in the order of the servers."""
    return [request(target.begin()) for target in targets(read(text).services).values()]


def monitor(
    *servers: Endpoint, command: tuple[str, ...] = ("/m",), environment: tuple[tuple[str, str], ...] = ()
) -> ExecCheck:
    """Return the check of a run for these servers, or of one for a single server of its own."""
    return ExecCheck(
        name="",
        address="" if servers else ONE.address,
        port=0 if servers else ONE.port,
        command=command,
        convention=Convention.MON,
        per=Per.GROUP if servers else Per.SERVER,
        mon=MonNames(group="web", service="http"),
        servers=servers,
        environment=environment,
    )


class Clock:
    """Unix time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.7

    def __call__(self) -> float:
        return self.now


class Runs:
    """One check, whose program ends as the test says."""

    def __init__(self, check: ExecCheck) -> None:
        self.clock = Clock()
        self._begin = program_runs(check, self.clock)
        self.monitor: MonitorRun | None = None
        """What the last outcome says of the last failed run."""

    def run(self, *answers: Answer) -> tuple[Request, Outcome]:
        """Begin a run, and return what it asks for, and the outcome after the process has answered."""
        exchange = self._begin()
        asked, outcome = request(exchange), self.ended(exchange, *answers)
        self.monitor = outcome.monitor
        return asked, msgspec.structs.replace(outcome, monitor=None)

    def ended(self, exchange: Exchange, *answers: Answer) -> Outcome:
        steps = [exchange.received(line(each)) for each in (Started(), *answers)]
        outcome = steps[-1] if answers else exchange.expired("5s")
        assert isinstance(outcome, Outcome)
        return outcome

    def told(self) -> dict[str, str]:
        """Return the variables of the next run, without those that every program has."""
        asked = request(self._begin())
        assert asked.folders == ("MON_STATEDIR", "MON_LOGDIR")
        return {name: value for name, value in asked.environment.items() if name not in ENVIRONMENT}


def test_each_server_has_its_own_program_with_its_own_address() -> None:
    check = '{ type = "exec", command = ["/bin/check", "{address}:{port}"], convention = "mon" }'
    asked = requests(service(check=check, servers=TWO_SERVERS))
    assert [each.argv for each in asked] == [
        ("/bin/check", "192.0.2.1:80", "192.0.2.1"),
        ("/bin/check", "192.0.2.2:81", "192.0.2.2"),
    ]
    assert [each.environment["LVS_ADDRESS"] for each in asked] == ["192.0.2.1", "192.0.2.2"]
    assert [each.environment["LVS_PORT"] for each in asked] == ["80", "81"]


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (("/m",), ("/m", "192.0.2.1", "192.0.2.2", "2001:db8::3")),
        (("/m", "-p", "80"), ("/m", "-p", "80", "192.0.2.1", "192.0.2.2", "2001:db8::3")),
        (("/m", "-p", "80", ";;"), ("/m", "-p", "80")),
        (("/m", "-p", "80;;"), ("/m", "-p", "80")),  # as mon reads it, too
        (("/m", ";;", "-p"), ("/m", ";;", "-p", "192.0.2.1", "192.0.2.2", "2001:db8::3")),
    ],
)
def test_group_is_appended_unless_the_line_ends_with_two_semicolons(
    command: tuple[str, ...], argv: tuple[str, ...]
) -> None:
    same_host = Endpoint(ONE.address, 8080)
    asked, _ = Runs(monitor(ONE, TWO, same_host, THREE, command=command)).run(Finished(0, ""))
    assert asked.argv == argv


def test_names_are_those_of_the_service_and_of_the_check() -> None:
    check = '{ type = "exec", name = "front", command = ["/m"], convention = "mon" }'
    (asked,) = requests(service(check=check))
    assert (asked.environment["MON_GROUP"], asked.environment["MON_SERVICE"]) == ("web", "front")
    (other,) = requests(service(check=check.replace('"mon"', '"keepalived"')))
    assert not [name for name in other.environment if name.startswith("MON_")]
    assert other.folders == ()


def test_variables_tell_what_the_runs_before_have_found_as_mon_does() -> None:
    runs = Runs(monitor(ONE, TWO))
    always = {"MON_GROUP": "web", "MON_SERVICE": "http", "MON_CFBASEDIR": "/etc/mon"}
    assert runs.told() == always | {"MON_LAST_FAILURE": "0", "MON_LAST_SUCCESS": "0"}
    runs.run(Finished(0, "\nall well\n"))
    passed = {"MON_LAST_SUCCESS": "1000", "MON_LAST_FAILURE": "0", "MON_FIRST_FAILURE": "0"}
    assert runs.told() == always | passed | {"MON_LAST_SUMMARY": "", "MON_LAST_OUTPUT": "\nall well\n"}
    runs.clock.now = 2000.0
    runs.run(Finished(1, "192.0.2.1\nwhy\n"))
    failed = passed | {"MON_LAST_FAILURE": "2000", "MON_FIRST_FAILURE": "2000"}
    assert runs.told() == always | failed | {"MON_LAST_SUMMARY": "192.0.2.1", "MON_LAST_OUTPUT": "192.0.2.1\nwhy\n"}
    runs.clock.now = 3000.0
    runs.run(Finished(-9, "  \n"))
    failed |= {"MON_LAST_FAILURE": "3000"}
    assert runs.told() == always | failed | {"MON_LAST_SUMMARY": "(NO SUMMARY)", "MON_LAST_OUTPUT": "  \n"}
    runs.clock.now = 4000.0
    runs.run(Finished(0, ""))
    passed |= {"MON_LAST_SUCCESS": "4000"}
    assert runs.told() == always | passed | {"MON_LAST_OUTPUT": ""}  # a success without output has no summary


def test_run_that_did_not_take_place_is_not_remembered() -> None:
    runs = Runs(monitor())
    before = runs.told()
    runs.run(NotRun("cannot run /m"))
    assert runs.told() == before


def test_why_a_program_was_not_run_is_shown_as_terminals_can_show_it() -> None:
    exchange = program_runs(ExecCheck(name="", address="192.0.2.1", port=80, command=("/p",)))()
    exchange.connected()
    step = exchange.received(line(NotRun("cannot run \x1b[31m\n: " + "x" * 5000)))
    assert step == unsure(Reason.LOCAL_LIMIT, r"cannot run \x1b[31m\n: " + "x" * (1024 - 19))


@pytest.mark.parametrize(
    "garbage",
    [
        b"[]\n",
        b'{"type":"not_run","why":"\xff"}\n',
        b'{"type":"started","odd":' + b"[" * 2000 + b"]" * 2000 + b"}\n",
        b'{"type":"finished","status":18446744073709551616,"output":""}\n',
    ],
    ids=["type", "encoding", "depth", "number"],
)
def test_garbage_from_the_process_that_runs_programs_is_its_fault(garbage: bytes) -> None:
    exchange = program_runs(ExecCheck(name="", address="192.0.2.1", port=80, command=("/p",)))()
    exchange.connected()
    assert exchange.received(garbage) == unsure(Reason.LOCAL_LIMIT, "the process that runs programs sent garbage")


def test_output_that_no_variable_can_hold_does_not_stop_the_next_run() -> None:
    runs = Runs(monitor())
    runs.run(Finished(1, f"a\0b\n{'x' * 65536}"))
    told = runs.told()
    assert (told["MON_LAST_SUMMARY"], told["MON_LAST_OUTPUT"]) == ("a", "a")
    runs.run(Finished(1, "x" * 65536))
    assert len(runs.told()["MON_LAST_OUTPUT"]) == 4096


def test_own_variables_win() -> None:
    own = (("MON_STATEDIR", "/srv/mon"), ("MON_GROUP", "other"), ("COMMUNITY", "public"))
    asked, _ = Runs(monitor(environment=own)).run(Finished(0, ""))
    assert asked.folders == ("MON_LOGDIR",)
    assert {name: asked.environment[name] for name, _ in own} == dict(own)


def shares(outcome: Outcome) -> dict[Endpoint, Outcome]:
    """Return what a run has found of each server apart, without what it says of the run itself."""
    return {share.server: msgspec.structs.replace(share.outcome, monitor=None) for share in outcome.apart}


OTHERS = up("exit status 1, but for other servers only")


@pytest.mark.parametrize(
    ("output", "failed"),
    [
        ("192.0.2.2\n", {TWO: "192.0.2.2"}),
        ("192.0.2.2 \n\n192.0.2.2 timeout\n", {TWO: "192.0.2.2 timeout"}),
        ("192.0.2.2(15)\nHOST 192.0.2.2: HTTP response code failure\n", {
            TWO: "HOST 192.0.2.2: HTTP response code failure",
        }),
        ("192.0.2.2(no SSL cert) \n192.0.2.1 is well\n", {TWO: "192.0.2.2(no SSL cert)"}),
        ("192.0.2.2:80, 2001:DB8:0::3\n", {TWO: "192.0.2.2:80, 2001:DB8:0::3", THREE: "192.0.2.2:80, 2001:DB8:0::3"}),
        ("192.0.2.2:9999\n", {TWO: "192.0.2.2:9999"}),
        ("[2001:db8::3]:9999 unknown.example\n", {THREE: "[2001:db8::3]:9999 unknown.example"}),
        ("example.org@192.0.2.2  \n", {TWO: "example.org@192.0.2.2"}),
        ("[2001:db8::3]\n", {THREE: "[2001:db8::3]"}),
    ],
)  # fmt: skip
def test_servers_of_the_summary_are_down_and_the_others_up(output: str, failed: dict[Endpoint, str]) -> None:
    _, outcome = Runs(monitor(ONE, TWO, THREE)).run(Finished(1, output))
    assert msgspec.structs.replace(outcome, apart=()) == OTHERS
    assert shares(outcome) == {
        server: down(Reason.BAD_ANSWER, f"exit status 1: {why}") for server, why in failed.items()
    }


@pytest.mark.parametrize("output", ["", "\n192.0.2.1 is only in the detail\n", "web1 web2\n", "192.0.2.10\n"])
def test_failure_that_names_nobody_is_everybodys(output: str) -> None:
    _, outcome = Runs(monitor(ONE, TWO)).run(Finished(3, output))
    assert {server: each.kind for server, each in shares(outcome).items()} == dict.fromkeys(
        (ONE, TWO), OutcomeKind.DOWN
    )


def test_port_tells_servers_of_one_host_apart() -> None:
    same_host = Endpoint(ONE.address, 8080)
    runs = Runs(monitor(ONE, same_host))
    assert shares(runs.run(Finished(1, "192.0.2.1:8080\n"))[1]).keys() == {same_host}
    assert shares(runs.run(Finished(1, "192.0.2.1\n"))[1]).keys() == {ONE, same_host}


def test_success_is_everybodys_whatever_is_printed() -> None:
    _, outcome = Runs(monitor(ONE, TWO)).run(Finished(0, "192.0.2.1\n"))
    assert outcome == up("exit status 0: 192.0.2.1")


def test_monitor_that_was_killed_has_failed_for_all() -> None:
    _, outcome = Runs(monitor(ONE, TWO)).run(Finished(-11, "192.0.2.1\n"))
    assert outcome == down(Reason.BAD_ANSWER, "the program was killed by signal 11: 192.0.2.1")


@pytest.mark.parametrize("answers", [(), (Finished(-15, "", timed_out=True),)])
def test_slow_run_is_a_failure_of_one_server_and_of_several_nobody_knows_whose(answers: tuple[Answer, ...]) -> None:
    alone = Runs(monitor(ONE))
    _, outcome = alone.run(*answers)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.DOWN, Reason.TIMEOUT)
    assert alone.told()["MON_LAST_FAILURE"] == "1000"
    _, outcome = Runs(monitor(ONE, TWO)).run(*answers)
    assert outcome.kind is OutcomeKind.UNSURE
    assert outcome.detail.endswith(
        'for 2 servers, so nobody knows which is slow: raise timeout, or write per = "server"'
    )


@pytest.mark.parametrize("word", ["a ", ":: ", "[ ", "@ ", "a:b ", "a b\n"])
def test_no_output_makes_us_read_thousands_of_words_as_addresses(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read_as_address = []

    def counted(text: str) -> str:
        read_as_address.append(text)
        return canonical_address(text)

    monkeypatch.setattr(mon, "canonical_address", counted)
    text = word * (MOST_OUTPUT // len(word) // 2)
    for output in (f"{text}\n{text}", f"\n{text}{text}"):
        read_as_address.clear()
        _, outcome = Runs(monitor(ONE, TWO)).run(Finished(1, output))
        assert len(read_as_address) <= 512
        assert shares(outcome).keys() == {ONE, TWO}


def test_long_output_is_searched_in_time() -> None:
    servers = [Endpoint(f"192.0.{number // 200}.{number % 200 + 1}", 80) for number in range(256)]
    output = "(" * 20000 + " 192.0.0.9\n" + "\n".join(f"{server.address} is slow" for server in servers)
    _, outcome = Runs(monitor(*servers)).run(Finished(1, output))
    assert shares(outcome) == {servers[8]: down(Reason.BAD_ANSWER, "exit status 1: 192.0.0.9 is slow")}


def weighing(status: int, *, timed_out: bool = False) -> Outcome:
    check = ExecCheck(
        name="", address="192.0.2.1", port=80, command=("/c",), convention=Convention.KEEPALIVED, dynamic_weight=True
    )
    _, outcome = Runs(check).run(Finished(status=status, output="load 3", timed_out=timed_out))
    return outcome


@pytest.mark.parametrize(
    ("status", "asked", "detail"),
    [
        (0, AskedWeight(100, is_share=True), "exit status 0, the whole weight: load 3"),
        (2, AskedWeight(0, is_share=False), "exit status 2, weight 0: load 3"),
        (12, AskedWeight(10, is_share=False), "exit status 12, weight 10: load 3"),
        (255, AskedWeight(253, is_share=False), "exit status 255, weight 253: load 3"),
    ],
)
def test_exit_status_asks_for_a_weight(status: int, asked: AskedWeight, detail: str) -> None:
    outcome = weighing(status)
    assert (outcome.kind, outcome.asks, outcome.detail) == (OutcomeKind.UP, asked, detail)


def test_failure_asks_for_no_weight() -> None:
    assert [(each.kind, each.asks) for each in (weighing(1), weighing(-9), weighing(5, timed_out=True))] == [
        (OutcomeKind.DOWN, None)
    ] * 3


def test_exit_status_asks_for_no_weight_unless_it_shall() -> None:
    check = ExecCheck(name="", address="192.0.2.1", port=80, command=("/c",), convention=Convention.KEEPALIVED)
    _, outcome = Runs(check).run(Finished(status=2, output=""))
    assert (outcome.kind, outcome.asks) == (OutcomeKind.DOWN, None)


def last(runs: Runs) -> MonitorRun | None:
    return runs.monitor


def test_outcome_says_how_the_last_failed_run_ended_as_mon_would_tell_an_alert() -> None:
    runs = Runs(monitor())
    runs.run(Finished(0, "fine\n"))
    assert last(runs) is None
    runs.clock.now = 1010.2
    runs.run(Finished(3, "192.0.2.1\nwhy\n"))
    first = MonitorRun(3, "192.0.2.1\nwhy\n", "fine\n", first_failure=1010, last_failure=1010, last_success=1000)
    assert last(runs) == first
    runs.clock.now = 1020.9
    runs.run(Finished(-9, "half"))
    second = MonitorRun(1, "half", "192.0.2.1\nwhy\n", first_failure=1010, last_failure=1020, last_success=1000)
    assert last(runs) == second
    runs.clock.now = 1030.0
    runs.run(Finished(0, ""))
    assert last(runs) == second  # an upalert is told of it
    runs.clock.now = 1040.0
    runs.run()  # has not ended in time
    assert last(runs) == MonitorRun(1, "", "", first_failure=1040, last_failure=1040, last_success=1030)


def test_every_server_that_a_run_names_is_told_of_that_run() -> None:
    runs = Runs(monitor(ONE, TWO, THREE))
    outcome = runs.ended(runs._begin(), Finished(2, f"{TWO.address}\n"))
    (share,) = outcome.apart
    assert outcome.monitor is not None
    assert outcome.monitor.output == f"{TWO.address}\n"
    assert share.outcome.monitor == outcome.monitor
