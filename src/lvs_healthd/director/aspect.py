"""The interface through which the keeper reads and writes each kind of settings, such as sysctls."""

from typing import NamedTuple, Protocol

from lvs_healthd.config.model import Config
from lvs_healthd.runtime.exceptions import HostError


class SettingError(HostError):
    """Raised when a setting cannot be read or written. The message says what to do."""


class Setting(NamedTuple):
    """One setting that is not as wanted. `found` and `wanted` are texts for people."""

    name: str
    found: str
    wanted: str
    is_vital: bool = False
    """Whether a service does not work without the setting. A vital setting is always set at once, even if somebody else
    changes it again and again."""


class Aspect(Protocol):
    """Reads and writes settings of one kind, such as sysctls. Settings that are not configured are left alone."""

    def want(self, config: Config) -> None:
        """Take a new configuration. It applies from the next call of `differing`."""

    async def differing(self) -> list[Setting]:
        """Read the settings, and return those that are not as wanted. Raises `SettingError`."""

    async def mend(self, setting: Setting) -> None:
        """Set one setting to its wanted value. Raises `SettingError`."""
