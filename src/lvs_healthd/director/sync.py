"""Keeps the sync daemons of IPVS as configured. By hand, `ipvsadm --start-daemon` starts them.

A sync daemon that was never configured in this run is left alone.
"""

import asyncio
import errno
import socket

from lvs_healthd.config.model import Config, SyncDaemon
from lvs_healthd.director.aspect import Setting, SettingError
from lvs_healthd.director.sysctls import read
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.requests import KernelError
from lvs_healthd.ipvs.kernel.settings import Role, SettingsClient, SyncRecord
from lvs_healthd.runtime.netns import Netns, NetnsError

_OFF = "off"
_SYNC_PORTS = "net.ipv4.vs.sync_ports"


class SyncDaemons:
    """The wanted sync daemons."""

    def __init__(self, client: SettingsClient, netns: Netns) -> None:
        self._client = client
        self._netns = netns
        self._wanted: dict[Role, SyncDaemon | None] = {}
        """The sync daemons by role. None means that it was configured before and has to be stopped."""
        self._running: set[Role] = set()
        self._ports: str | None = None
        """The configured value of `sync_ports`. The kernel reads it when the first sync daemon starts."""
        self._ports_of: dict[Role, str] = {}
        """The value of `sync_ports` when each sync daemon was started. It has only the daemons that we started."""
        self._stale: set[Role] = set()
        """The sync daemons that run with another number of ports than configured."""

    def want(self, config: Config) -> None:
        """Take a new configuration."""
        self._ports = dict(config.ipvs.sysctl).get("sync_ports")
        written = {Role.MASTER: config.ipvs.sync.master, Role.BACKUP: config.ipvs.sync.backup}
        for role, daemon in written.items():
            if daemon is not None or role in self._wanted:
                self._wanted[role] = daemon

    async def differing(self) -> list[Setting]:
        """Return the sync daemons that are not as wanted. Raises `SettingError`."""
        if not self._wanted:
            return []
        try:
            found = await self._client.sync_daemons()
        except TableUnavailableError as error:
            raise SettingError(f"ipvs.sync: {error}") from error
        self._running = set(found)
        self._stale = await self._with_other_ports()
        return [
            Setting(f"ipvs.sync.{role.name.lower()}", self._shown(found.get(role), role), _described(role, wanted))
            for role, wanted in self._wanted.items()
            if self._shown(found.get(role), role) != _described(role, wanted)
        ]

    async def _with_other_ports(self) -> set[Role]:
        # While the sysctl itself is not as configured, restarting the daemons would change nothing.
        if self._ports is None or await self._ports_in_force() != self._ports:
            return set()
        ours = self._running & self._wanted.keys()
        return {role for role in ours if self._ports_of.get(role, self._ports) != self._ports}

    async def _ports_in_force(self) -> str:
        return (await read(self._netns, [_SYNC_PORTS]))[_SYNC_PORTS] or ""

    def _shown(self, found: SyncRecord | None, role: Role) -> str:
        stale = ", other sync_ports" if role in self._stale else ""
        return _shown(found, self._wanted[role]) + stale

    async def mend(self, setting: Setting) -> None:
        """Stop a sync daemon that is not as wanted, and start the wanted one. Raises `SettingError`."""
        role = Role[setting.name.rpartition(".")[2].upper()]
        wanted = self._wanted[role]
        if wanted is not None:
            await asyncio.to_thread(self._require_interface, wanted.interface, setting.name)
            if self._wanted[role] is not wanted:
                raise SettingError(f"{setting.name}: a reload has changed it meanwhile")
        try:
            # The kernel reads the number of ports again only when no sync daemon is running.
            for each in (self._stale | {role}) & self._running:
                await self._client.stop_sync(each)
                self._running.discard(each)
                self._ports_of.pop(each, None)
            self._stale.clear()
            if wanted is not None:
                await self._start(role, wanted)
        except KernelError as error:
            raise SettingError(f"{setting.name}: {_refusal(error, wanted)}") from error
        except TableUnavailableError as error:
            raise SettingError(f"{setting.name}: {error}") from error

    async def _start(self, role: Role, wanted: SyncDaemon) -> None:
        others = [self._ports_of.get(each) for each in self._running]
        ports = others[0] if others else await self._ports_in_force()
        await self._client.start_sync(_record(role, wanted))
        self._running.add(role)
        if ports is not None:
            self._ports_of[role] = ports

    def _require_interface(self, interface: str, name: str) -> None:
        """Check that the interface exists before any running daemon is stopped. Raises `SettingError`."""
        try:
            with self._netns.entered():
                socket.if_nametoindex(interface)
        except NetnsError as error:
            raise SettingError(str(error)) from error
        except OSError as error:
            raise SettingError(f'{name}: there is no interface "{interface}" here') from error


def _record(role: Role, daemon: SyncDaemon) -> SyncRecord:
    return SyncRecord(
        role=role,
        interface=daemon.interface,
        syncid=daemon.syncid,
        group=daemon.group,
        port=daemon.port,
        ttl=daemon.ttl,
        maxlen=daemon.maxlen or 0,
    )


def _described(role: Role, daemon: SyncDaemon | None) -> str:
    return _OFF if daemon is None else _words_of(_record(role, daemon))


def _shown(found: SyncRecord | None, wanted: SyncDaemon | None) -> str:
    """Describe a running sync daemon.

    Its longest message is included only when that is configured. Otherwise the kernel chose it.
    """
    if found is None:
        return _OFF
    is_chosen = wanted is not None and wanted.maxlen is not None
    return _words_of(found, maxlen=is_chosen)


def _words_of(record: SyncRecord, *, maxlen: bool = True) -> str:
    group = f"[{record.group}]" if ":" in record.group else record.group
    text = f"{record.interface}, syncid {record.syncid}, {group}:{record.port}, ttl {record.ttl}"
    return f"{text}, maxlen {record.maxlen}" if maxlen and record.maxlen else text


def _refusal(error: KernelError, wanted: SyncDaemon | None) -> str:
    interface = wanted.interface if wanted is not None else ""
    match error.answer.errno:
        case errno.EINVAL:
            return "the kernel accepts no sync daemon while a server is of another address family than its service"
        case errno.EADDRNOTAVAIL:
            return f'interface "{interface}" has no address of the group\'s family'
        case _:
            return str(error)
