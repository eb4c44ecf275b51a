"""How one hook works off what it is told, on a clock that jumps: order, limits, retries, and what is told of it."""

import asyncio

import msgspec

from lvs_healthd.events.kinds import Event, HookDropped, HookFailed, HookRecovered
from lvs_healthd.hooks.conventions import convention_of
from lvs_healthd.hooks.digest import MOST_NAMED
from lvs_healthd.hooks.facts import NotToldError, Told
from lvs_healthd.hooks.program import Call
from lvs_healthd.hooks.queues import MOST_WAITING
from lvs_healthd.hooks.run import GIVE_UP_S, LAST_RETRY_S, TELL_AGAIN_S, HookRun
from lvs_healthd.hooks.webhook import Post
from tests.hooks.doubles import Clock, Counts, Known, Scripted, down, read, run, up

COMMAND = '[[hook]]\ncommand = ["/bin/true"]\n'
URL = '[[hook]]\nurl = "http://hooks.example.org/x"\n'


class Running:
    """A hook with a scripted sender."""

    def __init__(self, hooks: str, clock: Clock, sender: Scripted, workers: int = 1) -> None:
        config = read(hooks)
        (hook,) = config.hooks
        self.events: list[Event] = []
        self.counts = Counts()
        self.clock = clock
        self.hook = HookRun(
            hook,
            convention_of(hook, Known(config), clock, clock.wall),
            sender,
            workers=workers,
            emit=self.events.append,
            count=self.counts.hook,
            clock=clock,
        )

    def take(self, event: Event) -> None:
        self.hook.take(Told(event, self.clock.wall()))

    async def idle(self) -> None:
        while self.hook.waiting:
            await asyncio.sleep(0.5)

    def results(self) -> dict[str, int]:
        return {result: times for (_, result), times in self.counts.of.items()}


def servers_of(sent: list[object]) -> list[str]:
    return [call.variables["LVS_SERVER"] for call in sent if isinstance(call, Call)]


def body(payload: object) -> dict[str, object]:
    assert isinstance(payload, Post)
    decoded: dict[str, object] = msgspec.json.decode(payload.body)
    return decoded


def test_events_of_a_server_keep_their_order_while_others_pass() -> None:
    async def main(clock: Clock) -> None:
        sender = Scripted(5.0)  # the first program takes five seconds
        running = Running(COMMAND, clock, sender, workers=4)
        for server in range(1, 10):
            running.take(down(f"198.51.100.{server}:80"))
            running.take(up(f"198.51.100.{server}:80"))
        await asyncio.sleep(1.0)
        assert len(sender.sent) >= 9  # the slow one does not hold up all others
        await running.idle()
        of = [(call.variables["LVS_SERVER"], call.variables["LVS_EVENT"]) for call in sender.sent]  # type: ignore[attr-defined]
        assert len(of) == 18
        for server in range(1, 10):
            mine = [event for name, event in of if name == f"198.51.100.{server}:80"]
            assert mine == ["real_server.down", "real_server.up"]
        assert running.results() == {"sent": 18}
        assert running.events == []
        await running.hook.finish(1.0)

    run(main)


def test_queue_is_bounded_and_the_oldest_go_which_is_counted_and_told_once_a_minute() -> None:
    async def main(clock: Clock) -> None:
        sender = Scripted(*[10.0] * 10)
        running = Running(COMMAND, clock, sender)
        running.take(down("198.51.100.1:80"))
        await asyncio.sleep(0.1)  # it is under way
        for number in range(MOST_WAITING + 200):
            running.take(down(f"198.51.{number // 250}.{number % 250}:80"))
        assert running.hook.waiting == MOST_WAITING + 1
        assert running.results() == {"dropped": 200}
        assert [type(event) for event in running.events] == [HookDropped]
        await asyncio.sleep(TELL_AGAIN_S + 10.0)
        assert [(event.dropped, event.waiting <= MOST_WAITING + 1) for event in running.events] == [  # type: ignore[attr-defined]
            (1, True),
            (199, True),
        ]
        await running.idle()
        assert running.results() == {"dropped": 200, "sent": MOST_WAITING + 1}
        assert servers_of(sender.sent)[1] == "198.51.0.200:80"  # what is told is the newest
        await running.hook.finish(1.0)

    run(main)


def test_dead_webhook_is_tried_again_ever_more_seldom_and_given_up_in_the_end() -> None:
    async def main(clock: Clock) -> None:
        sender = Scripted(*[NotToldError("no answer", may_work_later=True)] * 1000)
        running = Running(URL, clock, sender)
        running.take(down())
        await running.idle()
        assert GIVE_UP_S - LAST_RETRY_S <= clock.now <= GIVE_UP_S + 1
        assert sender.tried < 20
        assert running.results() == {"failed": 1}
        (failed,) = running.events
        assert failed == HookFailed(
            hook="hooks.example.org", about="real_server.down web 198.51.100.11:80", error="no answer", retry_s=1.0
        )
        await running.hook.finish(1.0)

    run(main)


def test_webhook_that_comes_back_is_told_once_and_gets_the_same_message() -> None:
    async def main(clock: Clock) -> None:
        sender = Scripted(*[NotToldError("no answer", may_work_later=True)] * 3)
        running = Running(URL, clock, sender)
        running.take(down())
        running.take(up())
        await running.idle()
        assert [body(each)["event"] for each in sender.sent] == ["real_server.down", "real_server.up"]
        assert body(sender.sent[0])["timestamp"] == "2023-11-14T22:13:20.000Z"  # of the event, not of the attempt
        assert running.events[1:] == [HookRecovered(hook="hooks.example.org", failed=0, after_s=7.0)]  # 1 + 2 + 4
        await running.hook.finish(1.0)

    run(main)


def test_error_that_would_be_the_same_again_is_not_tried_again() -> None:
    async def main(clock: Clock) -> None:
        sender = Scripted(NotToldError("status 404", may_work_later=False))
        running = Running(URL, clock, sender)
        running.take(down())
        await running.idle()
        assert (sender.tried, running.results()) == (1, {"failed": 1})
        assert running.events[0].retry_s is None  # type: ignore[attr-defined]
        await running.hook.finish(1.0)

    run(main)


def test_program_that_fails_for_every_other_server_tells_so_once_a_minute() -> None:
    async def main(clock: Clock) -> None:
        results = [NotToldError(f"exit status {number}", may_work_later=False) for number in range(100)]
        alternating = [each for result in results for each in (result, None)]
        running = Running(COMMAND, clock, Scripted(*alternating))
        for number in range(200):
            running.take(down(f"198.51.100.{number}:80"))
        await running.idle()
        assert running.results() == {"failed": 100, "sent": 100}
        assert [type(event) for event in running.events] == [HookFailed, HookRecovered]
        await running.hook.finish(1.0)

    run(main)


def test_what_happens_within_the_window_is_one_message() -> None:
    async def main(clock: Clock) -> None:
        sender = Scripted()
        running = Running(URL + 'every = "30s"', clock, sender)
        for number in range(1000):
            running.take(down(f"198.51.{number // 250}.{number % 250}:80"))
        await asyncio.sleep(29.0)
        assert sender.sent == []
        running.take(up())
        await asyncio.sleep(2.0)
        (message,) = map(body, sender.sent)
        assert (message["event"], message["total"], message["left_out"]) == ("hook.digest", 1001, 1)
        assert message["counts"] == {"real_server.down": 1000, "real_server.up": 1}
        assert len(message["events"]) == MOST_NAMED  # type: ignore[arg-type]
        assert (message["since"], message["timestamp"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.000Z")
        running.take(up())
        await asyncio.sleep(31.0)
        assert body(sender.sent[1])["total"] == 1
        await running.hook.finish(1.0)

    run(main)


def test_while_a_digest_cannot_be_told_the_next_one_gathers_all_there_is() -> None:
    async def main(clock: Clock) -> None:
        sender = Scripted(*[NotToldError("no answer", may_work_later=True)] * 5)
        running = Running(URL + 'every = "1s"', clock, sender)
        for number in range(5000):
            running.take(down(f"198.51.{number // 250}.{number % 250}:80"))
            await asyncio.sleep(0.005)
        assert running.hook.waiting == 2
        await running.idle()
        assert [body(each)["total"] for each in sender.sent] == [200, 4800]
        await running.hook.finish(1.0)

    run(main)


def test_end_tells_what_waits_at_once_but_not_for_longer_than_allowed() -> None:
    async def main(clock: Clock) -> None:
        gathering, hanging = Scripted(), Scripted(1000.0)
        first = Running(URL + 'every = "1h"', clock, gathering)
        second = Running(COMMAND, clock, hanging)
        for each in (first, second):
            each.take(down())
            each.take(up())
        await asyncio.sleep(0)
        await first.hook.finish(1.0)
        assert (clock.now, len(gathering.sent), gathering.is_closed) == (0.0, 1, True)
        await second.hook.finish(1.0)
        assert (clock.now, hanging.sent, hanging.is_closed) == (1.0, [], True)
        assert second.results() == {"dropped": 2}
        assert isinstance(second.events[-1], HookDropped)

    run(main)


def test_mistake_in_our_own_code_is_not_swallowed() -> None:
    async def main(clock: Clock) -> None:
        sender = Scripted()
        running = Running(COMMAND, clock, sender)

        async def broken(_: object) -> None:
            raise ZeroDivisionError

        sender.send = broken  # type: ignore[method-assign,assignment]
        running.take(down())
        await asyncio.wait(running.hook.tasks)
        assert isinstance(running.hook.tasks[0].exception(), ZeroDivisionError)

    run(main)
