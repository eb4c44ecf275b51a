"""Keeps our nftables table as the services need it. When it differs, it is replaced whole in one transaction."""

import asyncio

import msgspec

from lvs_healthd.config.model import Config
from lvs_healthd.director import nft
from lvs_healthd.director.aspect import Setting, SettingError
from lvs_healthd.director.ruleset import FAMILY, TABLE, Object, describe, normal, ruleset, transaction
from lvs_healthd.runtime.netns import Netns

NAME = f"nftables {FAMILY} {TABLE}"


def remove_rules(netns: Netns) -> bool:
    """Delete our table, and return whether it existed. This blocks. Raises `SettingError`."""
    if not nft.is_there() or nft.nft(netns, "list", "table", FAMILY, TABLE) is None:
        return False
    nft.nft(netns, "-f", "-", stdin=msgspec.json.encode(transaction([])))
    return True


class NftTable:
    """The nftables table that the services need. Any table with its name is ours, whoever created it."""

    def __init__(self, netns: Netns) -> None:
        self._netns = netns
        self._wanted: list[Object] = []
        self._may_exist = True
        """Whether the table may exist although no rules are wanted, for example left behind by an earlier run."""
        self._had_rules = False
        """Whether rules are wanted, or old ones may still be in the table."""
        self._same: tuple[list[Object], list[Object]] | None = None
        """The rules last written, and how nft then listed them, because some versions list a rule in another form."""

    def want(self, config: Config) -> None:
        """Take a new configuration."""
        self._wanted = ruleset(config.services)
        self._had_rules |= bool(self._wanted)
        self._may_exist = True

    async def differing(self) -> list[Setting]:
        """Read the table. Raises `SettingError`."""
        if not self._wanted and not (self._may_exist and nft.is_there()):
            return []
        try:
            found = await self._read()
        except SettingError:
            if self._had_rules:
                raise
            return []  # most likely nothing of ours exists; the next resync checks again
        if found == normal(self._wanted) or self._same == (self._wanted, found):
            self._may_exist = bool(found)
            self._had_rules = bool(self._wanted)
            return []
        return [Setting(NAME, describe(found), describe(self._wanted), is_vital=bool(self._wanted))]

    async def mend(self, _: Setting) -> None:
        """Write the table. Raises `SettingError`."""
        wanted = self._wanted
        await asyncio.to_thread(nft.nft, self._netns, "-f", "-", stdin=msgspec.json.encode(transaction(wanted)))
        self._same = (wanted, await self._read())

    async def _read(self) -> list[Object]:
        output = await asyncio.to_thread(nft.nft, self._netns, "list", "table", FAMILY, TABLE)
        return [] if output is None else await asyncio.to_thread(lambda: normal(nft.decode(output)))
