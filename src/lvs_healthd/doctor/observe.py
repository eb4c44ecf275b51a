"""Looks at a director once, within half a minute, and changes nothing on it.

What cannot be looked at (a missing capability, a program that hangs) is left out and named: no finding rests on it.
"""

import asyncio
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from lvs_healthd.config.model import Config, Mode
from lvs_healthd.director import aspects, links
from lvs_healthd.director.advice import READ, advise
from lvs_healthd.director.aspect import SettingError
from lvs_healthd.director.overflows import Overflows
from lvs_healthd.director.sysctls import read as read_sysctls
from lvs_healthd.doctor import handshakes, host, network, on_the_wire
from lvs_healthd.doctor.certificates import tls_questions, with_certificates
from lvs_healthd.doctor.observations import Daemon, Difference, Host, Observations, Service
from lvs_healthd.doctor.services import Connections, key_of, services_of, with_counters
from lvs_healthd.doctor.wire_questions import arp_questions, echo_questions, with_claims, with_echoes
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.kernel.connections import decode
from lvs_healthd.ipvs.kernel.settings import SettingsClient
from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics
from lvs_healthd.ipvs.records import ServiceKey, Table
from lvs_healthd.ipvs.saved import saved
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.threads import Threads, in_thread
from lvs_healthd.view.announce_values import errors_of
from lvs_healthd.view.naming import UnknownNameError, canonical, spellings
from lvs_healthd.view.status_values import Status

TOTAL_S = 22.0
"""How long all of it may take, seconds. What is not seen by then is left out. Together with the wait for the daemon's
answer, and the start of Python, that is less than half a minute."""

STEP_S = 5.0
"""How long each step may take, seconds. A step usually takes a fraction of a second."""

IMPORT_S = 10.0
"""How long the import of pyroute2 may take, seconds. It takes a quarter of a second, and more in an emulated one."""

LEAST_S = 0.2
"""How long the last steps may take if the time is over, seconds."""

REFRESHED_S = 2.2
"""The time between two readings of the counters, seconds. The kernel refreshes them every two seconds."""

CONNECTIONS_S = 4.0
"""How long the list of connections is read, seconds. A million connections would take minutes."""

_NO_COUNTERS: dict[str, int] = {}

_T = TypeVar("_T")


class Asked(NamedTuple):
    """What to look at."""

    config: Config | None
    """None if there is no configuration that can be read: then only the kernel's table is looked at."""
    config_errors: tuple[str, ...] = ()
    status: Status | None = None
    """What the running daemon says; None without one."""
    daemon_error: str = ""
    """Why a daemon that runs does not answer; "" if none runs, or if it answers."""
    service: str = ""
    """The name or address of the only service to look at; "" for all."""


def observe(asked: Asked, progress: Callable[[str], None]) -> Observations:
    """Look at the director. This blocks for some seconds, for at most half a minute.

    progress: is told what is looked at now.

    Raises `UnknownNameError` if there is no such service.
    """
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(Threads())
        return runner.run(_Looking(asked, progress).all())


class _Looking:
    """One look at the director."""

    def __init__(self, asked: Asked, progress: Callable[[str], None]) -> None:
        self._asked = asked
        self._progress = progress
        self._netns = Netns(asked.config.ipvs.netns if asked.config is not None else "")
        self._unseen: list[str] = []
        self._end = time.monotonic() + TOTAL_S

    async def all(self) -> Observations:
        """Look at everything."""
        overflows = Overflows(time.monotonic)
        overflows.turn()
        self._progress("reading the kernel's table")
        client = IpvsClient(netns=self._netns, load=_load_nothing)
        try:
            table, version, table_error = await self._table(client)
            services = self._chosen(services_of(self._asked.config, table, self._asked.status))
            counters = await self._in_namespace(
                network.counters, what="reading the kernel's counters", instead=_NO_COUNTERS
            )
            statistics = {key_of(each): client.statistics(key_of(each)) for each in services}
            first = time.monotonic()
            self._progress("looking at routes and neighbours")
            await self._away(links.parser, what="importing pyroute2", instead=None, timeout_s=IMPORT_S)
            around = await self._in_namespace(network.look_around, what="reading interfaces", instead=None)
            if around is not None:
                services = await self._in_namespace(
                    network.located, services, around, what="asking for routes", instead=services
                )
                services = await self._on_the_wire(services, around)
            services = await self._certificates(services)
            seen = await self._host(around, services)
            self._progress("looking at connections")
            services, lost = await self._connections(client, services, 0 if not seen.timeouts else seen.timeouts[0])
            self._progress("waiting for the kernel's counters")
            await asyncio.sleep(max(0.0, first + REFRESHED_S - time.monotonic()))
            later = await self._later(client, services) if not table_error else {}
        finally:
            client.close()
        services = with_counters(services, statistics, later)
        overflows.turn()
        after = await self._in_namespace(
            network.counters, what="reading the kernel's counters again", instead=_NO_COUNTERS
        )
        seen = msgspec.structs.replace(
            seen, counters_before=counters, counters_after=after, overflows=overflows.ongoing()
        )
        config = self._asked.config
        return Observations(
            services=tuple(services),
            host=seen,
            daemon=_daemon(self._asked.status),
            daemon_error=self._asked.daemon_error,
            table_error=table_error,
            kernel=f"{version}, Linux {platform.release()}",
            table="".join(saved(table)),
            config_errors=self._asked.config_errors,
            is_shadow=_is_shadow(config, self._asked.status),
            settings=await self._settings(),
            advice=tuple(await self._advice()),
            lost_connections=lost,
            unseen=tuple(self._unseen),
        )

    async def _table(self, client: IpvsClient) -> tuple[Table, str, str]:
        """Return the table, the version of IPVS, and why the table cannot be read."""
        try:
            version = await client.open()
            return await client.read(), version, ""
        except TableUnavailableError as error:
            return {}, "no IPVS", str(error)

    async def _later(
        self, client: IpvsClient, services: Iterable[Service]
    ) -> dict[ServiceKey, ServiceStatistics | None]:
        keys = [key_of(each) for each in services if each.is_in_table]
        try:
            await client.read_services(keys)
        except TableUnavailableError as error:
            self._unseen.append(f"the counters a second time: {error}")
        return {key: client.statistics(key) for key in keys}

    def _chosen(self, services: Sequence[Service]) -> list[Service]:
        word = self._asked.service
        if not word:
            return list(services)
        spelled = canonical(word)
        chosen = [each for each in services if word == each.name or spelled in spellings(str(key_of(each)))]
        if not chosen:
            raise UnknownNameError(f'no service is called "{word}" or has that address')
        return chosen

    async def _on_the_wire(self, services: list[Service], around: network.Around) -> list[Service]:
        self._progress("asking on the wire who has the addresses")
        if sum(len(each.servers) for each in services) > on_the_wire.MOST:
            self._unseen.append(f"all servers on the wire: {on_the_wire.MOST} are asked at most; name a service")
        questions = arp_questions(services, around)
        if questions:
            claims = await self._in_namespace(
                on_the_wire.who_has, questions, around, what="asking by ARP", instead=None
            )
            if claims is not None:
                services = with_claims(services, questions, claims)
        self._progress("asking servers in the way of clients' packets")
        echoes = echo_questions(services, around)
        if echoes:
            answers = await self._in_namespace(on_the_wire.echoes, echoes, what="sending echo requests", instead=None)
            if answers is not None:
                services = with_echoes(services, echoes, answers)
        return services

    async def _certificates(self, services: list[Service]) -> list[Service]:
        questions = tls_questions(services, self._asked.config)
        if not questions:
            return services
        self._progress("asking servers for their certificates")
        shown = await self._in_namespace(
            handshakes.presented, questions, what="asking servers for their certificates", instead=None
        )
        return services if shown is None else with_certificates(services, shown)

    async def _connections(
        self, client: IpvsClient, services: list[Service], tcp_timeout_s: int
    ) -> tuple[list[Service], dict[str, int]]:
        counting = Connections(services, tcp_timeout_s)

        def count() -> bool:
            end = time.monotonic() + CONNECTIONS_S
            for block in client.connections():
                for line in block.splitlines():
                    counting.take(decode(line))
                if time.monotonic() > end:
                    return False
            return True

        is_whole = await self._away(count, what="reading the connections", instead=None)
        if is_whole is False:
            self._unseen.append(f"all connections: the list is read for {CONNECTIONS_S:g}s only")
        return counting.services(), counting.lost

    async def _host(self, around: network.Around | None, services: Iterable[Service]) -> Host:
        self._progress("reading settings and rules")
        interfaces = sorted(set(host.interfaces_of(services)))
        try:
            values = await read_sysctls(self._netns, host.sysctl_names(interfaces))
        except SettingError as error:
            values = {}
            self._unseen.append(f"sysctls: {error}")
        rules = await self._away(lambda: host.rules(self._netns), what="listing the rules of nftables", instead=None)
        timeouts, roles, sync_interfaces = await self._ipvs_settings()
        sysctls = {name: value for name, value in values.items() if value is not None}
        return Host(
            sysctls=sysctls,
            links=() if around is None else tuple(port.link for port in around.ports),
            modules=await self._away(host.modules, what="looking for modules", instead=()),
            installed=await self._away(host.installed, what="looking for modules on the disk", instead=None),
            vendor=await self._away(host.vendor, what="asking the firmware", instead=""),
            writers=await self._away(lambda: host.writers(self._netns), what="looking for programs", instead=()),
            sync_roles=roles,
            sync_interfaces=sync_interfaces,
            timeouts=timeouts,
            tracked=_number(sysctls.get("net.netfilter.nf_conntrack_count")),
            tracked_most=_number(sysctls.get("net.netfilter.nf_conntrack_max")),
            rules=rules,
            has_legacy_rules=await self._in_namespace(
                host.has_legacy_rules, what="looking for rules of the old iptables", instead=False
            ),
        )

    async def _ipvs_settings(self) -> tuple[tuple[int, int, int] | None, tuple[str, ...], tuple[str, ...]]:
        client = SettingsClient(self._netns)
        try:
            found = await client.timeouts()
            daemons = await client.sync_daemons()
        except TableUnavailableError:
            return None, (), ()  # the table's own error says why
        roles = tuple(role.name.lower() for role in daemons)
        return (found.tcp, found.tcp_fin, found.udp), roles, tuple(each.interface for each in daemons.values())

    async def _settings(self) -> tuple[Difference, ...]:
        """Return the settings beside the table that are not as configured."""
        config = self._asked.config
        if config is None or _is_shadow(config, self._asked.status):
            return ()
        found: list[Difference] = []
        for aspect in aspects(self._netns):
            aspect.want(config)
            try:
                async with asyncio.timeout(self._left_s()):
                    differing = await aspect.differing()
                found += [Difference(name=each.name, found=each.found, wanted=each.wanted) for each in differing]
            except SettingError as error:
                self._unseen.append(str(error))
            except TimeoutError:
                self._unseen.append("settings beside the table: no answer in time")
        return tuple(found)

    async def _advice(self) -> list[Any]:
        if self._asked.config is None:
            return []
        try:
            return [*advise(self._asked.config, await read_sysctls(self._netns, READ))]
        except SettingError as error:
            self._unseen.append(str(error))
            return []

    def _left_s(self, most_s: float = STEP_S) -> float:
        return max(LEAST_S, min(most_s, self._end - time.monotonic()))

    async def _in_namespace(self, function: Callable[..., _T], *arguments: object, what: str, instead: _T) -> _T:
        """Call a function on a thread, inside the network namespace."""

        def call() -> _T:
            with self._netns.entered():
                return function(*arguments)

        return await self._away(call, what=what, instead=instead)

    async def _away(self, function: Callable[[], _T], *, what: str, instead: _T, timeout_s: float = STEP_S) -> _T:
        """Call a function on a thread. If it fails or hangs, note that, and return `instead`."""
        try:
            return await in_thread(function, timeout_s=self._left_s(timeout_s), what=what)
        except (OSError, HostError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._unseen.append(f"{what}: {why}")
            return instead


async def _load_nothing(_: str) -> bool:
    """Load no module, because the doctor changes nothing."""
    return False


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _is_shadow(config: Config | None, status: Status | None) -> bool:
    if status is not None:
        return status.daemon.mode == Mode.SHADOW
    return config is not None and config.daemon.mode is Mode.SHADOW


def _daemon(status: Status | None) -> Daemon | None:
    if status is None:
        return None
    said = status.daemon
    troubles = [
        *((f"the table: {said.table_error}",) if said.table_error else ()),
        *((f"a setting: {said.setting_error}",) if said.setting_error else ()),
        *((f"the last reload was rejected: {said.config_error}",) if said.config_error else ()),
        *((f"the state file: {said.state_error}",) if said.state_error else ()),
        *((f"the clock: {said.clock_suspected}",) if said.clock_suspected else ()),
        *said.network_faults,
        *(f"announced addresses: {error}" for error in errors_of(each for each in said.announced if not each.shadow)),
    ]
    return Daemon(
        version=said.version,
        mode=said.mode,
        troubles=tuple(troubles),
        advice=said.setting_advice,
        fights=said.table_fights,
        not_announced=tuple(each.vip for each in said.announced if not (each.wanted or each.error or each.shadow)),
    )
