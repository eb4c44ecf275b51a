"""What the keeper keeps: settings of one kind, each with a name and a value in words."""

from typing import NamedTuple, Protocol

from lvs_healthd.config.model import Config
from lvs_healthd.runtime.exceptions import HostError


class SettingError(HostError):
    """A setting cannot be read or written; the message says what to do."""


class Setting(NamedTuple):
    """One setting that is not as wanted. Values are for people."""

    name: str
    found: str
    wanted: str


class Aspect(Protocol):
    """Settings of one kind. What is not configured is none of its business."""

    def want(self, config: Config) -> None:
        """Take what is configured from now on."""

    async def differing(self) -> list[Setting]:
        """Read what there is, and return what is not as wanted. Raises `SettingError`."""

    async def mend(self, setting: Setting) -> None:
        """Make one setting as wanted. Raises `SettingError`."""
