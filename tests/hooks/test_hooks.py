"""All hooks together: what a reload keeps, what is counted, and that nobody is held up by many events."""

import asyncio

import pytest

from lvs_healthd.config.model import Config
from lvs_healthd.events.kinds import Event, HookDropped
from lvs_healthd.hooks import hooks as hooks_module
from lvs_healthd.hooks.digest import MOST_NAMED
from lvs_healthd.hooks.facts import Facts
from lvs_healthd.hooks.hooks import Hooks
from lvs_healthd.hooks.run import HookRun
from lvs_healthd.runtime import pace
from tests.hooks.doubles import SERVICES, Clock, Counts, Known, Scripted, down, read, run, up

HANGING = '[[hook]]\ncommand = ["/bin/hanging"]\n'
DIGEST = '[[hook]]\nurl = "http://192.0.2.1/"\nevery = "30s"\n'
ALERT = '[[hook]]\nname = "mon"\nconvention = "mon"\ncommand = ["/bin/true"]\n'


class All:
    """Hooks whose senders are scripted: each program takes ten seconds."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.senders: list[Scripted] = []
        self.events: list[Event] = []
        self.counts = Counts()
        self.known = Known(Config())
        self.hooks = Hooks(self.lookup, self.events.append, self.counts, clock=clock, wall=clock.wall)
        monkeypatch.setattr(hooks_module, "sender_of", self.sender_of)

    def lookup(self, service: str, server: str, check: str) -> Facts | None:
        return self.known(service, server, check)

    def sender_of(self, *_: object) -> tuple[Scripted, int]:
        self.senders.append(Scripted(*[10.0] * 10_000))
        return self.senders[-1], 4

    def configure(self, hooks: str, *, is_shadow: bool = False, services: str = "") -> None:
        config = read(hooks, services) if services else read(hooks)
        self.known = Known(config)
        self.hooks.configure(config, "/run/exec.sock", is_shadow=is_shadow)

    def of(self, name: str) -> HookRun:
        return next(each for each in self.hooks._runs.values() if each.hook.name == name)


def test_reload_keeps_what_waits_for_hooks_that_have_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(clock: Clock) -> None:
        every = All(clock, monkeypatch)
        every.configure(HANGING + DIGEST)
        serving = asyncio.create_task(every.hooks.run())
        for number in range(20):
            every.hooks.listen(down(f"198.51.100.{number}:80"))
        await asyncio.sleep(1.0)
        assert every.hooks.waiting() == {"hanging": 20, "192.0.2.1": 1}
        every.configure(ALERT + DIGEST.replace("30s", "20s") + HANGING)
        assert every.hooks.waiting() == {"mon": 0, "192.0.2.1": 0, "hanging": 20}
        assert len(every.senders) == 4  # the program's is the same
        await asyncio.sleep(0)
        await asyncio.sleep(15.0)
        assert len(every.senders[1].sent) == 1  # the digest of the hook that has changed was told at once
        await asyncio.sleep(300.0)
        assert len(every.senders[0].sent) == 20
        every.configure("")
        assert sorted(every.counts.forgotten) == ["192.0.2.1", "hanging", "mon"]
        serving.cancel()
        await every.hooks.stop(1.0)

    run(main)


def test_hook_that_is_gone_is_neither_counted_any_more_nor_left_behind_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main(clock: Clock) -> None:
        every = All(clock, monkeypatch)
        every.configure(HANGING)
        every.hooks.listen(down())
        await every.hooks._pass_on()
        (gone,) = every.hooks._runs.values()
        every.configure(ALERT)
        every.counts.of.clear()
        await asyncio.sleep(1.0)
        await every.hooks.stop(1.0)
        assert all(task.done() for task in gone.tasks)
        assert all(sender.is_closed for sender in every.senders)
        assert {hook for hook, _ in every.counts.of} <= {"mon"}

    run(main)


def test_in_shadow_mode_no_hook_is_told_unless_it_wants_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(clock: Clock) -> None:
        every = All(clock, monkeypatch)
        every.configure(HANGING + DIGEST + "in_shadow = true", is_shadow=True)
        every.hooks.listen(down())
        await every.hooks._pass_on()
        assert every.hooks.waiting() == {"hanging": 0, "192.0.2.1": 1}
        shadowed = SERVICES.replace('name = "web"', 'name = "web"\nmode = "shadow"')
        every.configure(HANGING, services=shadowed)
        every.hooks.listen(down())
        every.hooks.listen(down(service="other"))
        await every.hooks._pass_on()
        assert every.hooks.waiting() == {"hanging": 1}
        await every.hooks.stop(1.0)

    run(main)


def test_thousand_failures_at_once_are_one_digest_a_bounded_queue_and_many_short_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time is counted: reading the clock of paced work takes 0.1 ms, and happens once for each event."""
    reading = 0.0

    def counted() -> float:
        nonlocal reading
        reading += 0.0001
        return reading

    async def main(clock: Clock) -> None:
        monkeypatch.setattr(pace, "clock", counted)
        every = All(clock, monkeypatch)
        every.configure(HANGING + DIGEST + ALERT)
        serving = asyncio.create_task(every.hooks.run())
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        for number in range(1000):
            every.hooks.listen(down(f"198.51.{number // 250}.{number % 250}:80"))
        assert every.hooks.waiting() == {"hanging": 0, "192.0.2.1": 0, "mon": 0}  # nothing is done in their turn
        beside = asyncio.create_task(others())
        while len(every.hooks._arrived):
            await asyncio.sleep(0)
        beside.cancel()
        assert turns > 1000 * 0.0001 / pace.SLICE_S * 0.9
        waiting = every.hooks.waiting()
        assert waiting["192.0.2.1"] == 1
        assert waiting["hanging"] <= 1004
        await asyncio.sleep(31.0)
        assert len(every.senders[1].sent) + every.hooks.waiting()["192.0.2.1"] == 1
        serving.cancel()
        await every.hooks.stop(1.0)
        assert MOST_NAMED == 1000

    run(main)


def test_events_that_come_faster_than_they_can_be_passed_on_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(clock: Clock) -> None:
        every = All(clock, monkeypatch)
        monkeypatch.setattr(hooks_module, "MOST_ARRIVED", 10)
        every.configure(HANGING + DIGEST)
        for _ in range(15):
            every.hooks.listen(up())
        assert every.counts.of["hanging", "dropped"] == every.counts.of["192.0.2.1", "dropped"] == 5
        assert [type(event) for event in every.events] == [HookDropped] * 2
        await every.hooks.stop(1.0)

    run(main)


def test_mistake_in_our_own_code_ends_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(clock: Clock) -> None:
        every = All(clock, monkeypatch)
        every.configure(HANGING)

        async def broken(_: object) -> None:
            raise ZeroDivisionError

        every.senders[0].send = broken  # type: ignore[method-assign,assignment]
        every.hooks.listen(down())
        with pytest.raises(ZeroDivisionError):
            await every.hooks.run()
        assert every.of("hanging").waiting == 0

    run(main)
