"""Makes services of what a file of ldirectord says, and accounts for their lines."""

from collections import Counter
from typing import Any

from lvs_healthd.config.schema import SCHEDULERS
from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.draft import Part
from lvs_healthd.importers.ldirectord.checks import check_type, checks_of
from lvs_healthd.importers.ldirectord.fallbacks import fallback_keys, is_loopback
from lvs_healthd.importers.ldirectord.names import MOST_PORT
from lvs_healthd.importers.ldirectord.records import FORWARDS, File, Real, Setting, Virtual, bracketed
from lvs_healthd.importers.ldirectord.subject import AskError, Check, Findings
from lvs_healthd.importers.ldirectord.timing import Timing, timing
from lvs_healthd.ipvs.words import SCHEDULER_FLAGS, scheduler_flag_names

DEFAULT_SCHEDULER = "wrr"

MOST_WEIGHT = MOST_PORT
"""ipvsadm refuses weights of more than 16 bits."""

MOST_CONNECTIONS = 2**31 - 1
"""ipvsadm refuses larger thresholds: they have 31 bits."""

CHECK_KEYS = frozenset(
    {"request", "receive", "checktype", "checkcommand", "checktimeout", "negotiatetimeout", "checkcount", "checkport"}
    | {"failurecount", "checkinterval", "login", "passwd", "database", "secret", "service", "httpmethod", "virtualhost"}
)
"""The keys of a block that say how its servers are checked."""


_OWN_KEYS = frozenset({"host", "path", "body", "body_regex", "port"})
"""What checks of one service may differ in. A check that differs in more stands at each server as a whole."""


class Carrier:
    """Makes a service of one virtual after another.

    used: the settings, also global ones, that something has been made from.
    """

    def __init__(self, file: File, account: Account) -> None:
        self._file = file
        self._account = account
        self.used: set[Setting] = set()

    def service(self, virtual: Virtual) -> Part | None:
        """Return the service of a virtual, or None if it has no servers."""
        if check_type(virtual) == "off" or not virtual.reals:
            self._leave_out(virtual)
            return None
        self._account.carried(virtual.place)
        part = Part("service", {}, self._places(virtual), self._comments(virtual))
        servers = self._servers(virtual)
        forward = Counter(each.forward for each in servers).most_common(1)[0][0]
        checks = self._checks(virtual, servers, part)
        common = _common(checks)
        part.values = {
            **self._identity(virtual),
            **self._scheduler(virtual),
            **self._persistence(virtual),
            **self._one_packet(virtual),
            "forward": FORWARDS[forward],
            "on_failure": self._on_failure(virtual),
            **fallback_keys(virtual, self._file, self._account, {self._address(virtual, each) for each in servers}),
            **({"check": common[0] if len(common) == 1 else common} if common else {}),
            "real_server": [
                self._server(virtual, real, forward, _own(own, common))
                for real, own in zip(servers, checks or [[]] * len(servers), strict=True)
            ],
        }
        return part

    def _leave_out(self, virtual: Virtual) -> None:
        if virtual.reals:
            why = "checktype=off: ldirectord puts no server into this service; write weight = 0 for such servers"
        else:
            why = "ldirectord makes a service without a server of this; here a service needs one"
        self._account.dropped(virtual.place, f"{why}. The service is left out")
        for setting in virtual.settings.values():
            self._account.ignored(setting.place, "the service is left out")
        for real in virtual.reals:
            self._account.ignored(real.place, "checktype=off: ldirectord never uses it")
        if virtual.fallback:
            self._account.dropped(virtual.fallback.place, "the service is left out")

    def _places(self, virtual: Virtual) -> list[Place]:
        places = [virtual.place, *(setting.place for setting in virtual.settings.values())]
        places += [real.place for real in virtual.reals]
        return [*places, *([virtual.fallback.place] if virtual.fallback else [])]

    def _comments(self, virtual: Virtual) -> list[str]:
        comments = []
        for key in ("servicename", "comment"):
            setting = virtual.settings.get(key)
            if setting is not None:
                self._account.carried(setting.place)
                comments.append(f"{key}: {setting.value.strip()}")
        return comments

    def _identity(self, virtual: Virtual) -> dict[str, Any]:
        self._carry(virtual, "protocol")
        if virtual.mark is not None:
            return {"fwmark": virtual.mark, "family": "ipv6" if virtual.is_v6 else "ipv4"}
        return {"address": f"{bracketed(virtual.address)}:{virtual.port}", "protocol": virtual.protocol}

    def _scheduler(self, virtual: Virtual) -> dict[str, Any]:
        self._carry(virtual, "scheduler", "schedflags")
        scheduler = virtual.text("scheduler", DEFAULT_SCHEDULER)
        if scheduler not in SCHEDULERS:
            self._refuse(virtual, "scheduler", f"IPVS has no scheduler {scheduler!r}: which one was meant?")
        flags = [flag for flag in virtual.text("schedflags").split(",") if flag]
        known = {*scheduler_flag_names(scheduler), *scheduler_flag_names("")} & SCHEDULER_FLAGS.keys()
        for flag in flags:
            if flag not in known:
                self._refuse(virtual, "schedflags", f"the scheduler {scheduler} has no flag {flag!r}: what was meant?")
        return {"scheduler": scheduler, **({"scheduler_flags": flags} if flags else {})}

    def _persistence(self, virtual: Virtual) -> dict[str, Any]:
        seconds, mask = virtual.settings.get("persistent"), virtual.settings.get("netmask")
        if virtual.mark is None and not virtual.port and seconds is None:
            text = "ipvsadm refuses port 0 without persistent, so the service is not there: which port was meant?"
            self._account.refused(virtual.place, text)
        if seconds is None:
            if mask is not None:
                self._account.ignored(mask.place, "netmask counts only with persistent")
            return {}
        self._carry(virtual, "persistent", "netmask")
        if not seconds.number:
            self._account.refused(
                seconds.place, "ipvsadm refuses -p 0, so the service is not there: leave it out, or write seconds"
            )
        keys: dict[str, Any] = {"persistence": f"{seconds.number}s"}
        if mask is not None:
            keys["persistence_mask"] = int(mask.value) if virtual.is_v6 else mask.value
        return keys

    def _one_packet(self, virtual: Virtual) -> dict[str, Any]:
        setting = virtual.settings.get("ops")
        if setting is None:
            return {}
        if setting.value == "yes" and virtual.protocol != "udp":
            self._account.ignored(setting.place, "ops counts only with protocol=udp")
            return {}
        self._account.carried(setting.place)
        return {"one_packet": True} if setting.value == "yes" else {}

    def _on_failure(self, virtual: Virtual) -> str:
        setting = virtual.settings.get("quiescent") or self._file.settings.get("quiescent")
        if setting is not None:
            self.used.add(setting)
        return "quiesce" if setting is not None and setting.value == "yes" else "remove"

    def _servers(self, virtual: Virtual) -> list[Real]:
        """Return the real servers, each once, and account for their lines."""
        kept: dict[str, Real] = {}
        for real in virtual.reals:
            address = self._address(virtual, real)
            earlier = kept.get(address)
            if earlier is None:
                kept[address] = real
                self._account.carried(real.place)
                self._note_port(virtual, real)
            elif _is_the_same(real, earlier):
                text = f"{address} is there already (line {earlier.place.number}), and the kernel takes it once"
                self._account.ignored(real.place, text)
            else:
                text = f"{address} is there already (line {earlier.place.number}), with other values: which ones count?"
                self._account.refused(real.place, text)
            self._ask_about_server(virtual, real)
        return list(kept.values())

    def _ask_about_server(self, virtual: Virtual, real: Real) -> None:
        """Ask about a server that is not in the table, or that the kernel sends nothing to."""
        if max(real.lower, real.upper) > MOST_CONNECTIONS:
            text = f"ipvsadm refuses a threshold above {MOST_CONNECTIONS}: what was meant?"
            self._account.refused(real.place, text)
        if real.weight > MOST_WEIGHT:
            text = f"ipvsadm refuses a weight above {MOST_WEIGHT}, so the server is not there: what was meant?"
            self._account.refused(real.place, text)
        if real.forward == "masq" and is_loopback(real.address) and not is_loopback(virtual.address):
            text = f"the kernel drops what masq would send to {real.address}: was gate meant, or another address?"
            self._account.refused(real.place, text)

    def _address(self, virtual: Virtual, real: Real) -> str:
        """Return a server's address as the configuration has it: with a port only if the kernel maps to it."""
        port = virtual.used_port(real.forward, real.port)
        return f"{bracketed(real.address)}:{port}" if port not in {0, virtual.port} else bracketed(real.address)

    def _note_port(self, virtual: Virtual, real: Real) -> None:
        if real.lower and not real.upper:
            self._account.ignored(real.place, f"without u: the kernel does nothing with l:{real.lower}")
        port = virtual.used_port(real.forward, real.port)
        if real.port and port != real.port:
            to = f"uses port {port}" if port else "leaves packets their port"
            text = f"the kernel does not use port {real.port} with {real.forward} here: it {to}"
            self._account.noted(real.place, text)
        elif not real.port and virtual.port:
            text = f"ldirectord writes port 0 into the table, which has the same effect as port {virtual.port} here"
            self._account.noted(real.place, text)

    def _server(self, virtual: Virtual, real: Real, forward: str, check: Check | list[Check] | None) -> str | Check:
        address = self._address(virtual, real)
        own: dict[str, Any] = {}
        if real.weight != 1:
            own["weight"] = real.weight
        if real.forward != forward:
            own["forward"] = FORWARDS[real.forward]
        if real.upper:
            own["upper_threshold"] = real.upper
        if real.lower and real.upper:
            own["lower_threshold"] = real.lower
        if check:
            own["check"] = check
        return {"address": address, **own} if own else address

    def _checks(self, virtual: Virtual, servers: list[Real], part: Part) -> list[list[Check]]:
        """Return the checks of each server. If it is not known which to write, the part's comment asks."""
        findings = Findings()
        times = timing(virtual, self._file)
        try:
            checks = checks_of(virtual, servers, times, findings)
        except AskError as error:
            self._ask(virtual, times, str(error), part)
            return []
        self._tell_of_checks(virtual, findings)
        for real, own in zip(servers, checks, strict=True):
            for check in own:
                if check.get("port") in {0, virtual.used_port(real.forward, real.port)}:
                    del check["port"]
        return checks

    def _tell_of_checks(self, virtual: Virtual, findings: Findings) -> None:
        dropped = {place for place, _ in findings.dropped}
        self.used |= findings.used
        for setting in findings.used:
            if setting.place not in dropped:
                self._account.carried(setting.place)
        for place, text in findings.notes:
            self._account.noted(place, text)
        for place, text in findings.dropped:
            self._account.dropped(place, text)
        kind = check_type(virtual)
        for key in CHECK_KEYS & virtual.settings.keys():
            setting = virtual.settings[key]
            if setting not in findings.used:
                self._account.ignored(setting.place, _why_unused(key, kind, virtual))

    def _ask(self, virtual: Virtual, times: Timing, text: str, part: Part) -> None:
        """Ask which check to write. The service gets a comment in place of one."""
        asked_at = next(
            (virtual.settings[key].place for key in ("checktype", "service") if key in virtual.settings), virtual.place
        )
        self._account.dropped(asked_at, text)
        self.used |= times.settings
        for key in sorted(CHECK_KEYS & virtual.settings.keys()):
            place = virtual.settings[key].place
            if place != asked_at:
                self._account.dropped(place, f"it belongs to the check that is missing: see line {asked_at.number}")
        part.comments.append(f"A check is missing: {text}")
        part.comments.append(
            f'Its times: interval = "{times.interval[0]}s", timeout = "{times.check_timeout[0]}s", rise = 1, '
            f"fall = {times.failures[0]}"
        )
        part.comments.append("check =")

    def _carry(self, virtual: Virtual, *keys: str) -> None:
        for key in keys:
            setting = virtual.settings.get(key)
            if setting is not None:
                self._account.carried(setting.place)

    def _refuse(self, virtual: Virtual, key: str, text: str) -> None:
        setting = virtual.settings.get(key)
        self._account.refused(setting.place if setting else virtual.place, text)


def _is_the_same(one: Real, other: Real) -> bool:
    fields = ("forward", "weight", "request", "receive", "lower", "upper", "port")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def _why_unused(key: str, kind: str, virtual: Virtual) -> str:
    if key == "checkinterval":
        return "in a block it counts only with fork=yes"
    if key in {"request", "receive"} and all(real.request is not None for real in virtual.reals):
        return "each real server has its own"
    if key in {"checktimeout", "negotiatetimeout"}:
        return "another timeout counts here"
    if kind == "negotiate" or kind.isdecimal():
        return f"service={virtual.service} does not use it"
    return f"checktype={kind} does not use it"


def _common(checks: list[list[Check]]) -> list[Check]:
    """Return what the checks of all servers have in common: as many checks, each with its common keys.

    Nothing, if they differ in more than what a server's own check can add.
    """
    if not checks:
        return []
    first, *others = checks
    common = [
        {key: value for key, value in check.items() if all(other[at].get(key) == value for other in others)}
        for at, check in enumerate(first)
    ]
    for own in checks:
        for check, shared in zip(own, common, strict=True):
            if not check.keys() - shared.keys() <= _OWN_KEYS:
                return []
    return common


def _own(checks: list[Check], common: list[Check]) -> Check | list[Check] | None:
    """Return what a server's checks have beyond the common ones."""
    if not common:
        return checks[0] if len(checks) == 1 else checks or None
    own = [
        {key: value for key, value in check.items() if key not in shared}
        for check, shared in zip(checks, common, strict=True)
    ]
    if len(own) == 1:
        return own[0] or None
    return [{"name": shared["name"], **each} for each, shared in zip(own, common, strict=True) if each]
