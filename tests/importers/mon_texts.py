"""Generates texts that look like a mon.cf, with all that mon knows, most of it in its place."""

from hypothesis import strategies as st

IPVS = "ipvs.alert -P tcp -V 203.0.113.1:80 -R 198.51.100.1:80"


def mostly(usual: tuple[str, ...], odd: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """Return one of the usual values, and seldom an odd one, which mon or the importer refuses."""
    return st.sampled_from(usual * max(1, 40 // len(usual)) + odd)


TIMES = mostly(("10s", "1m", "2s", "1.5m", "30h", "0.5s"), ("0s", "10", "5 s", ""))
HOSTS = mostly(
    (
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.1 198.51.100.2",
        "web1 198.51.100.1",
        "198.51.100.1 198.51.100.2 *198.51.100.3",
        "198.51.100.3",
        "2001:db8::1",
    ),
    ("", "198.51.100.9 # spare", "unknown.example.org"),
)
SERVICES = mostly(("http", "ssh", "dns-1", "tcp"), ("a b", ""))
MONITORS = mostly(
    (
        "http.monitor",
        "http.monitor -p 8080 -u /alive -t 5",
        "tcp.monitor -p 80",
        'http.monitor -m "We are (open)"',
        "ping.monitor",
        "fping.monitor -a -t 100",
        "raid.monitor --all;;",
        "x.monitor 'a b' c",
        "pop3.monitor",
        "smtp.monitor -p smtp",
    ),
    ('x.monitor "odd', '"x.monitor"', "/usr/bin/x", "x.monitor {port}", ""),
)
ALERTS = mostly(
    (
        "test.alert",
        "mail.alert -S 'is down' ops@example.org",
        "exit=1-2 x.alert",
        IPVS,
        f"{IPVS} -W 1 -F nat -B -S rr",
        f"{IPVS} -W 1 -F nat -B -S rr",
        f"{IPVS} -W 3 -F dr",
        f"{IPVS} -D",
    ),
    (
        *("mail.alert -S don't", "exit = 1 x.alert", "ipvs.alert -P sctp -V 203.0.113.1:80", ""),
        *("ipvs.alert -P tcp -V nonsense: -R 198.51.100.1", f"{IPVS} -x"),
    ),
)
PERIODS = mostly(("", "wd {Sun-Sat}", "ALL:", "P1: wd {Mon-Fri} hr {9am-5pm}", "none"), ("always",))


def _key(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return values.map(lambda value: f"    {name} {value}")


SERVICE_LINES = st.one_of(
    *(_key(name, TIMES) for name in ("interval", "failure_interval", "randskew", "traptimeout")),
    _key("monitor", MONITORS),
    _key("description", mostly(("web", '"quoted"', ""))),
    _key("depend", mostly(("SELF:ping && db:sql",))),
    _key("hostdepend", mostly(("db:sql",))),
    _key("dep_behavior", mostly(("m",), ("x",))),
    _key("exclude_hosts", mostly(("198.51.100.1", "web1"))),
    _key("exclude_period", mostly(("wd {Sun}",), ("bad",))),
    _key("redistribute", mostly(("x.alert",))),
    mostly(("    allow_empty_group", "    unack_summary 1", "    TOKEN=secret"), ("    timeout 5s", "    -p 80")),
)
PERIOD_LINES = st.one_of(
    *(_key(kind, ALERTS) for kind in ("alert", "upalert", "alert", "upalert", "startupalert", "ackalert")),
    _key("alertafter", mostly(("3", "0", "5m", "3 5m"), ("1d", "2 1s"))),
    _key("alertevery", mostly(("1h", "1h strict"), ("x",))),
    _key("numalerts", mostly(("5",), ("x",))),
    _key("upalertafter", mostly(("5m",))),
    _key("alertexitrange", mostly(("1-9",))),
    mostly(("    no_comp_alerts", "    alerts_dont_count")),
)
GLOBALS = mostly(
    (
        *("mondir = /usr/lib/mon/mon.d", "alertdir = /usr/lib/mon/alert.d", "basedir = /opt", "maxprocs = 20"),
        *("randstart = 60s", "serverport = 2583", "dtlogging = yes", "dep_behavior = m", "unack_summary = yes"),
        *("exclude_period = wd {Sun}", "view all web db", "alias WEB", "some words", "# a comment \\"),
    ),
    ("mondir = /opt/monitors:/x", "unknown = 1"),
)
ENDS = st.sampled_from(("", "", "", "", "", "", "", "", "\r", " \\", "\\\n  more"))


@st.composite
def _service(draw: st.DrawFn, name: str) -> list[str]:
    lines = [f"  service {name}", "    interval 10s", f"    monitor {draw(MONITORS)}"]
    lines += draw(st.lists(SERVICE_LINES, max_size=1))
    for period in draw(st.lists(PERIODS, max_size=2, unique=True)):
        lines += [f"    period {period}", *draw(st.lists(PERIOD_LINES, max_size=3))]
    return lines


@st.composite
def _record(draw: st.DrawFn, name: str) -> list[str]:
    between = draw(mostly(("\n",), ("", "# no blank line")))
    lines = [f"hostgroup {name} {draw(HOSTS)}", *between.splitlines(), f"watch {name}"]
    for service in draw(st.lists(SERVICES, min_size=1, max_size=2, unique=True)):
        lines += draw(_service(service))
    return [*lines, ""]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return a file."""
    lines: list[str] = draw(st.lists(GLOBALS, max_size=1))
    lines += [""] if lines else []
    for name in draw(st.lists(mostly(("web", "db", "198.51.100.1")), min_size=1, max_size=2, unique=True)):
        lines += draw(_record(name))
    place = draw(st.integers(0, len(lines)))
    if place < len(lines):
        lines[place] += draw(ENDS)
    return "\n".join(lines) + draw(st.sampled_from(("", "\n")))


TABLES = st.sampled_from(
    (
        None,
        (),
        ("-A -t 203.0.113.1:80 -s rr", "-a -t 203.0.113.1:80 -r 198.51.100.1:80 -m -w 1"),
        (
            "-A -t 203.0.113.1:80 -s wrr -p 300",
            "-a -t 203.0.113.1:80 -r 198.51.100.1:8080 -m -w 3",
            "-a -t 203.0.113.1:80 -r 198.51.100.2:80 -g -w 1",
            "-A -f 7 -s sh",
            "-a -f 7 -r 198.51.100.1:0 -i -w 1",
            "-A -t [2001:db8::80]:80",
            "-a -t [2001:db8::80]:80 -r [2001:db8::1]:80 -m",
        ),
    )
)
"""Saved tables, as lines; None for none given."""
