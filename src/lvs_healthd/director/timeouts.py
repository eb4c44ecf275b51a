"""Keeps the connection timeouts of IPVS as configured. An operator would set them with `ipvsadm --set`."""

from lvs_healthd.config.model import Config
from lvs_healthd.director.aspect import Setting, SettingError
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.settings import SettingsClient, TimeoutRecord

_NAMES = ("tcp", "tcp_fin", "udp")


class ConnectionTimeouts:
    """The aspect for connection timeouts. Timeouts that are not configured are left alone."""

    def __init__(self, client: SettingsClient) -> None:
        self._client = client
        self._wanted = TimeoutRecord(0, 0, 0)
        """The configured timeouts; 0 for a timeout that is not configured."""

    def want(self, config: Config) -> None:
        """Take a new configuration."""
        written = config.ipvs.timeouts
        self._wanted = TimeoutRecord(*(int(getattr(written, name) or 0) for name in _NAMES))

    async def differing(self) -> list[Setting]:
        """Return the timeouts that are not as wanted. Raises `SettingError`."""
        if not any(self._configured(name) for name in _NAMES):
            return []
        try:
            found = await self._client.timeouts()
        except TableUnavailableError as error:
            raise SettingError(f"ipvs.timeouts: {error}") from error
        return [
            Setting(f"ipvs.timeouts.{name}", f"{getattr(found, name)}s", f"{wanted}s")
            for name in _NAMES
            if (wanted := self._configured(name)) and wanted != getattr(found, name)
        ]

    async def mend(self, setting: Setting) -> None:
        """Write one timeout, and leave the others unchanged. Raises `SettingError`."""
        name = setting.name.rpartition(".")[2]
        only = {each: self._configured(each) if each == name else 0 for each in _NAMES}
        try:
            await self._client.set_timeouts(TimeoutRecord(**only))
        except TableUnavailableError as error:
            raise SettingError(f"{setting.name}: {error}") from error

    def _configured(self, name: str) -> int:
        return int(getattr(self._wanted, name))
