"""When and how an alert of mon is called. tests/ready_made/test_alerts_beside_mon.py compares it with mon itself."""

from lvs_healthd.events.kinds import Event, FallbackDown, RealServerDownAnyway
from lvs_healthd.hooks.facts import Told
from lvs_healthd.hooks.mon_convention import Alerts
from lvs_healthd.hooks.program import Call
from lvs_healthd.probes.outcome import MonitorRun
from tests.hooks.doubles import WALL, Clock, Known, down, read, up

ALERT = '[[hook]]\nconvention = "mon"\ncommand = ["/usr/lib/mon/alert.d/mail.alert", "oncall"]\n'
ONE, TWO, THREE = (f"198.51.100.{number}:80" for number in (11, 12, 13))
AT = str(int(WALL))


class Mon:
    def __init__(self, hook: str = "") -> None:
        config = read(ALERT + hook)
        self.clock = Clock()
        self.known = Known(config)
        self.alerts = Alerts(config.hooks[0], self.known, self.clock, self.clock.wall)

    def __call__(self, event: Event) -> list[Call]:
        if event.name not in self.alerts.names or not self.alerts.wants(event, in_shadow=False):
            return []
        return [self.made(each.made()) for each in self.alerts.messages(Told(event, 0.0))]

    def later(self, seconds: float) -> list[Call]:
        self.clock.now += seconds
        return [self.made(each.made()) for each in self.alerts.repeated()]

    @staticmethod
    def made(payload: object) -> Call:
        assert isinstance(payload, Call)
        return payload


def run(output: str, status: int = 1, at: int = 50) -> MonitorRun:
    return MonitorRun(status, output, "before\n", first_failure=40, last_failure=at, last_success=30)


def test_native_check_says_the_server_and_what_is_wrong_as_a_monitor_would() -> None:
    mon = Mon()
    (call,) = mon(down(ONE))
    assert call.argv == (
        *("/usr/lib/mon/alert.d/mail.alert", "-s", "http", "-g", "web", "-h", "198.51.100.11", "-t", AT),
        "oncall",
    )
    assert call.told == "198.51.100.11\nconnection refused\n"
    assert call.folders == ("MON_STATEDIR", "MON_LOGDIR")
    assert call.variables == {
        "MON_ALERTTYPE": "failure",
        "MON_RETVAL": "1",
        "MON_OPSTATUS": "0",
        "MON_GROUP": "web",
        "MON_SERVICE": "http",
        "MON_LAST_SUMMARY": "198.51.100.11",
        "MON_LAST_FAILURE": AT,
        "MON_FIRST_FAILURE": AT,
        "MON_LAST_SUCCESS": "0",
        "MON_FIRST_SUCCESS": "",
        "MON_CFBASEDIR": "/etc/mon",
        "LVS_VIP": "192.0.2.100",
        "LVS_VPORT": "80",
        "LVS_PROTO": "tcp",
        "LVS_RIP": "198.51.100.11",
        "LVS_RPORT": "80",
        "LVS_FWD": "nat",
        "LVS_WEIGHT": "1",
    }
    mon.clock.now = 5.0
    (call,) = mon(up(ONE))
    assert call.argv[8:] == (str(int(WALL) + 5), "-u", "oncall")
    assert call.told == "198.51.100.11\nconnection refused\n"
    assert (call.variables["MON_ALERTTYPE"], call.variables["MON_RETVAL"]) == ("up", "0")
    assert call.variables["MON_LAST_OUTPUT"] == call.told


def test_first_pass_after_a_start_is_silent_but_not_the_end_of_a_failure_from_before() -> None:
    mon = Mon()
    assert mon(up(ONE, was="unknown")) == []
    assert len(mon(up(ONE, was="down"))) == 1


def test_group_and_service_may_have_mon_s_names() -> None:
    (call,) = Mon('mon_group = "farm"\nmon_service = "www"\nenvironment = { MON_DESCRIPTION = "x" }')(down(ONE))
    assert call.argv[1:5] == ("-s", "www", "-g", "farm")
    assert [call.variables[f"MON_{name}"] for name in ("SERVICE", "GROUP", "DESCRIPTION")] == ["www", "farm", "x"]


def test_only_the_servers_and_services_of_the_hook_are_told() -> None:
    mon = Mon('services = ["w*"]\nservers = ["198.51.100.12:80"]')
    assert [len(mon(down(server))) for server in (ONE, TWO)] == [0, 1]
    assert mon(down("[2001:db8::11]:11211", service="cache")) == []


def test_exit_statuses_choose_the_alerts_and_their_ends() -> None:
    mon = Mon('exit_status = ["2", "5-9"]')
    for status, told in ((1, 0), (2, 1), (4, 0), (5, 1), (9, 1), (10, 0)):
        mon.known.monitor = run("x\n", status)
        assert (len(mon(down(ONE))), len(mon(up(ONE)))) == (told, told)


def test_upalert_alone_comes_after_each_failure_whose_status_fits() -> None:
    mon = Mon('on = ["real_server.up"]\nexit_status = ["2"]')
    for status, told in ((1, 0), (2, 1)):
        mon.known.monitor = run("x\n", status)
        assert (mon(down(ONE)), len(mon(up(ONE)))) == ([], told)


def test_alert_is_repeated_while_the_failure_lasts_as_often_as_allowed() -> None:
    mon = Mon('repeat = "10m"\nmost = 3')
    assert len(mon(down(ONE))) == 1
    assert mon.later(599) == []
    mon.known.monitor = run("still\n")
    (again,) = mon.later(1)
    assert (again.told, again.argv[8]) == ("still\n", str(int(WALL) + 600))
    assert (len(mon.later(599)), len(mon.later(1)), len(mon.later(6000))) == (0, 1, 0)
    assert len(mon(up(ONE))) == 1
    assert mon.later(6000) == []
    assert len(mon(down(ONE))) == 1  # the next failure counts from the beginning


def test_failure_of_a_server_that_is_gone_is_forgotten() -> None:
    mon = Mon('repeat = "1m"')
    mon(down("198.51.100.99:80"))
    mon(down(ONE))
    assert len(mon.later(60)) == 1
    mon.alerts.keep(frozenset({"cache"}))
    assert mon.later(60) == []


def test_group_is_down_with_its_first_server_and_up_with_its_last() -> None:
    mon = Mon('per = "group"')
    (call,) = mon(down(ONE))
    assert call.argv[5:7] == ("-h", "198.51.100.11 198.51.100.12 198.51.100.13")
    assert len(mon(down(TWO))) == 1
    assert mon(up(ONE)) == []
    assert len(mon(up(TWO))) == 1


def test_group_is_up_whichever_check_has_passed_last() -> None:
    mon = Mon('per = "group"')
    mon(down(ONE, check="ssh"))
    (call,) = mon(up(ONE, check="http"))
    assert call.argv[1:3] == ("-s", "ssh")
    assert mon(up(ONE, check="http", was="unknown")) == []


def test_one_run_that_names_several_servers_is_one_alert() -> None:
    mon = Mon('per = "group"')
    mon.known.monitor = run("198.51.100.11 198.51.100.12\n")
    assert [len(mon(down(server))) for server in (ONE, TWO)] == [1, 0]
    mon.known.monitor = run("198.51.100.11 198.51.100.12 198.51.100.13\n", at=60)
    assert len(mon(down(THREE))) == 1


def test_server_that_operators_have_taken_out_alarms_nobody() -> None:
    mon = Mon()
    quiet = RealServerDownAnyway(**{name: getattr(down(ONE), name) for name in down(ONE).__struct_fields__})
    assert mon(quiet) == []
    assert mon(up(ONE)) == []


def test_fallback_servers_are_told_too() -> None:
    event = FallbackDown(service="web", server=ONE, check="http", reason="refused", after_s=1.0)
    assert len(Mon()(event)) == 1
