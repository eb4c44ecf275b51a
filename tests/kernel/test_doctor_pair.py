"""The doctor on both directors of a pair that is well, with the daemon and with keepalived alone."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.kernel.doctoring import HEAD
from tests.kernel.pair_directors import CONFIG, Connection, Director, WithDaemon
from tests.kernel.test_pair import pair
from tests.kernel.verbs import run_here


def look(director: Director, text: str) -> tuple[int, str]:
    """Run the doctor on a director with this configuration, and return its exit status and what it printed."""
    file = director.folder / "doctor.toml"
    file.write_text(text)
    return run_here("doctor", "--config", str(file))[:2]


def configuration(kind: type[Director], director: Director) -> str:
    """Return what the doctor reads: the daemon's file, or none of a director that keepalived alone keeps."""
    if kind is not WithDaemon:
        return HEAD.format(folder=director.folder, mode="enforce", netns=director.at.name)
    netns = f'[ipvs]\nnetns = "{director.at.name}"\n[ipvs.sync.master]'
    return CONFIG.format(**director.words).replace("[ipvs.sync.master]", netns)


@pytest.mark.long
@pytest.mark.parametrize("kind", [WithDaemon, Director], ids=["with the daemon", "keepalived alone"])
async def test_both_directors_of_a_pair_are_well(kind: type[Director], tmp_path: Path) -> None:
    async with pair(kind, 1, tmp_path) as both:
        kept = await asyncio.to_thread(Connection, both.topology.client, both.topology.vip)
        with contextlib.closing(kept):
            assert await asyncio.to_thread(kept.ask) in {server.name for server in both.topology.servers}
            for director in (both.a, both.b):
                found = await asyncio.to_thread(look, director, configuration(kind, director))
                assert found == (0, ""), director.at.name
        # The doctor does look: without its cable the standby director is not well.
        both.b.cut()
        code, said = await asyncio.to_thread(look, both.b, configuration(kind, both.b))
        both.b.mend()
        assert code == 3, said
        assert "interface eth0 has no carrier" in said
