"""Says how this director is configured and set, so that it can be compared with another one (/api/v1/director)."""

import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator

import msgspec

from lvs_healthd import __version__
from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.ipvs import SYSCTL_KEYS
from lvs_healthd.config.model import Service
from lvs_healthd.config.secrecy import without_secrets
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.director.advice import READ
from lvs_healthd.director.aspect import SettingError
from lvs_healthd.director.sysctls import TCP_LOOSE
from lvs_healthd.director.sysctls import read as read_sysctls
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.settings import SettingsClient
from lvs_healthd.plan.records import service_key
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.pace import paced
from lvs_healthd.view.director_values import DirectorValues, ServiceConfiguration, SyncValues, TimeoutValues

_OF_THE_MACHINE = frozenset({"est_cpulist", "est_nice"})
"""The sysctls of IPVS that depend on the machine's processors."""

SYSCTLS = tuple(
    sorted({*READ, TCP_LOOSE, *(f"net.ipv4.vs.{name}" for name in SYSCTL_KEYS if name not in _OF_THE_MACHINE)})
)
"""The sysctls that directors with the same services should have in common."""

_SETTINGS = (
    "scheduler", "scheduler_flags", "forward", "persistence", "persistence_mask", "persistence_engine", "one_packet",
    "on_failure", "foreign_servers", "damping", "min_up", "below", "slow_start", "brake", "announce_when",
    "announce_after", "withdraw_after", "synproxy", "synproxy_mss", "synproxy_wscale",
)  # fmt: skip
"""The keys of a service that directors should have in common. Its name is for people, `mode` is for one director, and
`vip` and `announce` name what may be called otherwise on another machine."""

_CHECK_KEYS = (
    "name", "address", "port", "interval", "fast_interval", "down_interval", "timeout", "rise", "fall", "path", "host",
    "method", "status", "http_version",
)  # fmt: skip
"""The keys of a check that are compared. None of them holds a secret, except a path, whose secrets are hidden."""

_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Service)}


class Director:
    """Describes this director.

    decisions: knows the configured services.
    netns: the network namespace of the table.
    is_real: whether the table is the kernel's.
    """

    def __init__(self, decisions: Decisions, netns: Netns, *, is_real: bool) -> None:
        self._decisions = decisions
        self._netns = netns
        self._is_real = is_real
        self._run = uuid.uuid4().hex
        self._known: dict[str, tuple[Service, ServiceConfiguration]] = {}
        """What was said of each service, by its name, with the configuration that it was made of."""

    async def __call__(self) -> AsyncIterator[bytes]:
        """Yield a `DirectorValues` as JSON."""
        yield msgspec.json.encode(await self.values())

    async def values(self) -> DirectorValues:
        """Describe it as it is now."""
        sysctls, timeouts, sync, error = await self._kernel()
        described: dict[str, tuple[Service, ServiceConfiguration]] = {}
        for service in [each.config for each in self._decisions.services]:
            known = self._known.get(service.name)
            if known is None or known[0] is not service:
                known = service, await _configuration(service)
            described[service.name] = known
        self._known = described
        return DirectorValues(
            run=self._run,
            at=time.time(),
            version=__version__,
            sysctls=sysctls,
            timeouts=timeouts,
            sync=sync,
            error=error,
            services=tuple(found for _, found in described.values()),
        )

    async def _kernel(self) -> tuple[dict[str, str], TimeoutValues | None, tuple[SyncValues, ...], str]:
        try:
            found = await read_sysctls(self._netns, SYSCTLS)
            sysctls = {name: value for name, value in found.items() if value is not None}
            if not self._is_real:
                return sysctls, None, (), ""
        except SettingError as error:
            return {}, None, (), str(error)
        client = SettingsClient(self._netns)
        try:
            timeouts, daemons = await client.timeouts(), await client.sync_daemons()
        except TableUnavailableError as error:
            return sysctls, None, (), str(error)
        sync = tuple(
            SyncValues(
                role=role.name.lower(),
                interface=each.interface,
                syncid=each.syncid,
                group=each.group,
                port=each.port,
            )
            for role, each in daemons.items()
        )
        return sysctls, TimeoutValues(tcp=timeouts.tcp, tcp_fin=timeouts.tcp_fin, udp=timeouts.udp), sync, ""


async def _configuration(service: Service) -> ServiceConfiguration:
    """Describe a service. A change of anything that is not in it goes unnoticed. The event loop runs meanwhile."""
    values = {name: getattr(service, name) for name in _SETTINGS}
    return ServiceConfiguration(
        service=service.name,
        address=str(service_key(service)),
        settings={name: _shown(value) for name, value in values.items() if value != _DEFAULTS[name]},
        checks=await _digest(service),
    )


async def _digest(service: Service) -> str:
    texts = [
        f"{server.endpoint.shown} {text}"
        async for server in paced(service.real_servers)
        for text in _texts(server.checks)
    ]
    return hashlib.blake2b("\n".join(sorted(texts)).encode(), digest_size=8).hexdigest()


def _texts(checks: Iterable[AnyCheck]) -> Iterator[str]:
    for check in checks:
        values = {name: getattr(check, name) for name in _CHECK_KEYS if hasattr(check, name)}
        if isinstance(path := values.get("path"), str):
            values["path"] = without_secrets(path)
        yield f"{type(check).__name__} {values}"


def _shown(value: object) -> str:
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
