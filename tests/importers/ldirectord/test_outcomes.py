"""The checks that are made find of a server what ldirectord finds of it."""

import asyncio

import pytest

from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probing.once import run_once
from tests.importers.ldirectord.files import config, read, remarks
from tests.importers.ldirectord.talks import TALKS, Talk, reply, text_of
from tests.probes.peers import Behaviour, stream_server


def behaviour(talk: Talk) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(talk.greeting)
        while heard := await reader.read(65536):
            answer = reply(talk, heard)
            writer.write(answer)
            await writer.drain()
            if talk.closes and answer:
                break

    return behave


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.name)
async def test_outcome_is_that_of_ldirectord(talk: Talk) -> None:
    async with stream_server(behaviour(talk)) as port:
        reading = read(text_of(talk, port))
        assert "A check is missing" not in reading.text, remarks(reading)
        (check,) = config(reading).services[0].real_servers[0].checks
        (found,) = (await run_once([check])).values()
    assert found.outcome.kind is (OutcomeKind.UP if talk.is_up else OutcomeKind.DOWN), found.outcome


def test_both_outcomes_are_there() -> None:
    assert {talk.is_up for talk in TALKS} == {True, False}
    assert len({talk.name for talk in TALKS}) == len(TALKS)
