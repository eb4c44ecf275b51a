"""The interface between the keeper and the settings it keeps."""

from typing import NamedTuple, Protocol

from lvs_healthd.config.model import Config
from lvs_healthd.runtime.exceptions import HostError


class SettingError(HostError):
    """A setting cannot be read or written. The message says what to do."""


class Setting(NamedTuple):
    """One setting that is not as wanted. `found` and `wanted` are texts for people."""

    name: str
    found: str
    wanted: str
    is_vital: bool = False
    """Whether a service does not work without it. It is then set at once, however often somebody else changes it."""


class Aspect(Protocol):
    """Reads and writes settings of one kind, such as sysctls. It leaves alone whatever is not configured."""

    def want(self, config: Config) -> None:
        """Take a new configuration. It applies from the next `differing` on."""

    async def differing(self) -> list[Setting]:
        """Read the settings, and return those that are not as wanted. Raises `SettingError`."""

    async def mend(self, setting: Setting) -> None:
        """Set one setting to its wanted value. Raises `SettingError`."""
