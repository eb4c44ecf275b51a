"""Keeps sysctls as wanted: the configured sysctls of IPVS, and those that fullnat and synproxy need."""

import asyncio
import errno
from collections.abc import Iterable, Mapping

from lvs_healthd.config.model import Config
from lvs_healthd.director.aspect import Setting, SettingError
from lvs_healthd.runtime.netns import Netns, NetnsError

_ROOT = "/proc/sys/"
_IPVS = "net.ipv4.vs."
CONNTRACK = f"{_IPVS}conntrack"
_DEFENCES = frozenset({f"{_IPVS}drop_entry", f"{_IPVS}drop_packet", f"{_IPVS}secure_tcp"})
TCP_LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
"""If this sysctl is 0, a packet that belongs to no tracked connection and is not a SYN counts as invalid. The synproxy
rule needs this. It answers the SYN before connection tracking sees it, and then waits for the last packet of the
handshake among the invalid packets."""


class Sysctls:
    """The aspect for sysctls."""

    def __init__(self, netns: Netns) -> None:
        self._netns = netns
        self._wanted: dict[str, str] = {}
        self._vital: dict[str, str] = {}

    def want(self, config: Config) -> None:
        """Take a new configuration."""
        self._wanted = wanted(config)
        self._vital = needed(config)

    async def differing(self) -> list[Setting]:
        """Return the sysctls that are not as wanted. Raises `SettingError`."""
        wanted, vital = self._wanted, self._vital  # a reload may replace both while the sysctls are read
        if not wanted:
            return []
        found = await read(self._netns, wanted)
        return [
            Setting(name, _shown(found[name]), value, is_vital=name in vital)
            for name, value in wanted.items()
            if not _is_as_wanted(name, found[name], value)
        ]

    async def mend(self, setting: Setting) -> None:
        """Write one sysctl. Raises `SettingError`."""
        await asyncio.to_thread(self._write, setting.name, setting.wanted)

    def _write(self, name: str, value: str) -> None:
        try:
            with self._netns.entered(), open(_path(name), "w", encoding="ascii") as file:  # noqa: PTH123  # in a thread
                file.write(value)
        except NetnsError as error:
            raise SettingError(str(error)) from error
        except OSError as error:
            raise SettingError(f"{name} = {value}: {_why(error)}") from error


def _is_as_wanted(name: str, found: str | None, value: str) -> bool:
    # The kernel turns 1 into 2 while memory is short, and 2 into 1 afterwards (ip_vs_ctl.c, update_defense_level).
    return found == value or (name in _DEFENCES and {found, value} == {"1", "2"})


def _shown(found: str | None) -> str:
    return "missing" if found is None else found or "empty"


def wanted(config: Config) -> dict[str, str]:
    """Return the wanted values of sysctls, by their dotted names."""
    return {_IPVS + name: value for name, value in config.ipvs.sysctl} | needed(config)


def needed(config: Config) -> dict[str, str]:
    """Return the values of sysctls that some service needs to work at all, by their dotted names."""
    found = {}
    if any(service.needs_conntrack for service in config.services):
        found[CONNTRACK] = "1"
    if any(service.synproxy for service in config.services):
        found[TCP_LOOSE] = "0"
    return found


async def read(netns: Netns, names: Iterable[str]) -> Mapping[str, str | None]:
    """Return the values of the named sysctls; None for a sysctl that does not exist. Raises `SettingError`."""
    return await asyncio.to_thread(_read, netns, tuple(names))


def _read(netns: Netns, names: tuple[str, ...]) -> dict[str, str | None]:
    try:
        with netns.entered():
            return {name: _read_one(name) for name in names}
    except NetnsError as error:
        raise SettingError(str(error)) from error


def _read_one(name: str) -> str | None:
    try:
        with open(_path(name), encoding="ascii") as file:  # noqa: PTH123  # cheaper, at each resync
            return file.read().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingError(f"{name}: {error.strerror}") from error


def _path(name: str) -> str:
    # As for sysctl(8), a name with slashes may have dots in its parts: net/ipv4/conf/eth0.100/rp_filter.
    return _ROOT + (name if "/" in name else name.replace(".", "/"))


def _why(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "this kernel has no such sysctl"
        case errno.EROFS:
            return (
                "/proc/sys is read-only here: give the unit ProtectKernelTunables=no (systemctl edit lvs-healthd), or "
                "set it in /etc/sysctl.d and take it out of the configuration"
            )
        case errno.EACCES | errno.EPERM:
            return "not permitted: needs CAP_NET_ADMIN: run as root or give the unit AmbientCapabilities=CAP_NET_ADMIN"
        case errno.EINVAL:
            return "the kernel does not accept this value"
        case errno.ERANGE:
            return "this machine does not have that many CPUs"
        case _:
            return error.strerror or str(error)
