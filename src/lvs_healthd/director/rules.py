"""Keeps the daemon's nftables table as the services need it.

If the table is not as wanted, the whole table is replaced in one transaction.
"""

import asyncio

import msgspec

from lvs_healthd.config.model import Config
from lvs_healthd.director import nft
from lvs_healthd.director.aspect import Setting, SettingError
from lvs_healthd.director.ruleset import FAMILY, TABLE, Object, describe, normal, ruleset, transaction
from lvs_healthd.runtime.netns import Netns

NAME = f"nftables {FAMILY} {TABLE}"


def remove_rules(netns: Netns) -> bool:
    """Delete the daemon's nftables table, and return whether it existed. This blocks. Raises `SettingError`."""
    if not nft.is_there() or nft.nft(netns, "list", "table", FAMILY, TABLE) is None:
        return False
    nft.nft(netns, "-f", "-", stdin=msgspec.json.encode(transaction([])))
    return True


class NftTable:
    """The aspect for the nftables table that the services need.

    Any table with the name `lvs_healthd` is taken for the daemon's own, whoever created it.
    """

    def __init__(self, netns: Netns) -> None:
        self._netns = netns
        self._wanted: list[Object] = []
        self._may_exist = True
        """Whether the table may exist even if no rules are wanted, for example because an earlier run left it."""
        self._had_rules = False
        """Whether rules are wanted, or old rules may still be in the table."""
        self._same: tuple[list[Object], list[Object]] | None = None
        """The rules that were last written, and how nft listed them afterwards. The two are equivalent, even if this
        version of nft lists a rule in another form."""

    def want(self, config: Config) -> None:
        """Take a new configuration."""
        self._wanted = ruleset(config.services)
        self._had_rules |= bool(self._wanted)
        self._may_exist = True

    async def differing(self) -> list[Setting]:
        """Read the table, and return it as a setting to mend if it is not as wanted. Raises `SettingError`."""
        if not self._wanted and not (self._may_exist and nft.is_there()):
            return []
        try:
            found = await self._read()
        except SettingError:
            if self._had_rules:
                raise
            return []  # most likely there is no table of the daemon's to delete; the next resync checks again
        if found == normal(self._wanted) or self._same == (self._wanted, found):
            self._may_exist = bool(found)
            self._had_rules = bool(self._wanted)
            return []
        return [Setting(NAME, describe(found), describe(self._wanted), is_vital=bool(self._wanted))]

    async def mend(self, _: Setting) -> None:
        """Replace the table with the wanted rules. Raises `SettingError`."""
        wanted = self._wanted
        await asyncio.to_thread(nft.nft, self._netns, "-f", "-", stdin=msgspec.json.encode(transaction(wanted)))
        self._same = (wanted, await self._read())

    async def _read(self) -> list[Object]:
        output = await asyncio.to_thread(nft.nft, self._netns, "list", "table", FAMILY, TABLE)
        return [] if output is None else await asyncio.to_thread(lambda: normal(nft.decode(output)))
