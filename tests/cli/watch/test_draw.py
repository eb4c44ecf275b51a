"""The pictures of the live screen, and what keys do to them."""

import curses
import time
from collections.abc import Iterator

import msgspec
import pytest

from lvs_healthd.cli.watch.answers import Answer
from lvs_healthd.cli.watch.draw import Look, Picture
from lvs_healthd.cli.watch.keys import Quit, pressed
from lvs_healthd.view.status_values import RealServerStatus, Status
from tests import statuses
from tests.cli.watch.screens import expected
from tests.statuses import NOW, real_server, service

SIZES = [(80, 24), (200, 50)]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def crowd() -> Status:
    """A status with more servers than fit, of which a few in the middle are bad, drained, or have another weight."""
    servers = [real_server(f"198.51.100.{number}:80") for number in range(1, 61)]
    servers[30] = real_server("198.51.100.31:80", "down", "no answer in 1s", weights=(1, None, None))
    servers[3] = with_order(servers[3], "drained", "drained by uid 0: kernel update", weights=(1, 0, 0))
    servers[5] = with_order(servers[5], "", "weight 5 by uid 1000: new disks", weights=(1, 5, 5))
    spare = real_server(
        "198.51.100.99:80", "unchecked", "standing by", since=None, weights=(1, None, None), fallback=True
    )
    return Status(
        daemon=statuses.daemon(
            holds=(statuses.HOLD,), brakes=(statuses.BRAKE,), setting_advice=("net.x is 0: set it",)
        ),
        services=(
            service("good", real_server("[2001:db8:1111:2222:3333:4444:5555:6666]:65535")),
            service("many", *servers, spare),
            service(
                "gone", real_server("198.51.100.7:25", "down", "refused", weights=(1, None, None)), in_fallback=True
            ),
        ),
    )


def with_order(server: RealServerStatus, state: str, words: str, weights: tuple[int, int, int]) -> RealServerStatus:
    configured, wanted, actual = weights
    return msgspec.structs.replace(
        server,
        state=state,
        override=words,
        reason=words if state else server.reason,
        weight_configured=configured,
        weight_wanted=wanted,
        weight_actual=actual,
    )


def drawn(
    picture: Picture, status: Status | None = None, size: tuple[int, int] = (80, 24), **more: object
) -> list[str]:
    answer = Answer(crowd() if status is None else status, NOW - 2)._replace(**more)  # type: ignore[arg-type]
    lines = picture.lines(answer, *size, NOW)
    assert len(lines) == size[1]
    assert all(line.cell_len <= size[0] for line in lines)
    return [line.plain.rstrip() for line in lines]


def servers_in(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines if line.startswith("  ") and ":80 " in line]


PICTURES = {
    "example": (statuses.status(), Look(), {}),
    "crowd": (crowd(), Look(), {}),
    "crowd-bad": (crowd(), Look(only_bad=True), {}),
    "crowd-filter": (crowd(), Look(wanted="KERNEL", is_typing=True), {}),
    "crowd-scrolled": (crowd(), Look(top=30), {}),
    "crowd-away": (crowd(), Look(), {"error": "control.sock: nobody listens", "away_since": NOW - 90}),
    "help": (crowd(), Look(is_help=True), {}),
    "shadow": (Status(daemon=statuses.daemon(mode="shadow"), services=statuses.status().services), Look(), {}),
    "nothing": (Status(daemon=statuses.daemon(), services=()), Look(), {}),
    "nothing-bad": (
        Status(daemon=statuses.daemon(), services=(service("web", real_server("198.51.100.1:80")),)),
        Look(only_bad=True),
        {},
    ),
}


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "200x50"])
@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, size: tuple[int, int]) -> None:
    status, look, more = PICTURES[name]
    look = Look(**{field: getattr(look, field) for field in ("only_bad", "wanted", "is_typing", "is_help", "top")})
    found = "".join(f"{line}\n" for line in drawn(Picture(look), status, size, **more))
    assert found == expected(f"{name}.{size[0]}x{size[1]}", found)


def test_before_the_first_answer_it_waits() -> None:
    lines = Picture(Look()).lines(Answer(), 80, 24, NOW)
    assert lines[0].plain == "waiting for the daemon's first answer"
    away = Picture(Look()).lines(Answer(error="nobody", away_since=NOW - 3), 80, 24, NOW)
    assert [line.plain for line in away[:3]] == ["NO ANSWER since 22:13:17 (3s)", "asking again: nobody", ""]


@pytest.mark.parametrize("size", [(1, 1), (10, 2), (20, 3), (40, 5), (79, 9)])
def test_smallest_windows_break_nothing(size: tuple[int, int]) -> None:
    for look in (Look(), Look(is_help=True), Look(is_typing=True, wanted="x" * 50)):
        drawn(Picture(look), size=size, error="gone", away_since=NOW)


def test_bad_servers_come_first_and_every_server_once() -> None:
    lines = drawn(Picture(Look()), size=(120, 100))
    found = servers_in(lines)
    assert found[0] == "198.51.100.31:80"
    assert len(found) == len(set(found)) == 61
    assert lines.index(next(line for line in lines if line.startswith("gone"))) < lines.index(
        next(line for line in lines if line.startswith("good"))
    )


def test_keys_scroll_within_bounds_and_all_servers_are_reached() -> None:
    picture, seen = Picture(Look()), set[str]()
    for _ in range(20):
        seen |= set(servers_in(drawn(picture)))
        pressed(curses.KEY_NPAGE, picture)
    assert len(seen) == 61
    last = drawn(picture)
    assert last[-1].endswith("of 67")
    pressed("j", picture)
    assert drawn(picture) == last
    pressed("k", picture)
    assert drawn(picture) != last
    pressed("G", picture)
    assert drawn(picture) == last
    pressed("g", picture)
    pressed(curses.KEY_UP, picture)
    assert drawn(picture) == drawn(Picture(Look()))


def test_line_of_a_service_that_is_scrolled_out_stays() -> None:
    lines = drawn(Picture(Look(top=30)))
    (first,) = [number for number, line in enumerate(lines) if line.startswith("  server")]
    assert lines[first + 1].startswith("many ")


def test_filter_is_typed_corrected_kept_and_dropped() -> None:
    picture = Picture(Look(top=9))
    for key in ("/", *"update", "x", "\x7f"):
        pressed(key, picture)
    assert picture.look.wanted == "update"
    assert servers_in(drawn(picture)) == ["198.51.100.4:80"]
    pressed("\n", picture)
    assert 'filter "update"' in drawn(picture)[-1]
    pressed("\x1b", picture)
    assert picture.look == Look()


def test_a_key_is_a_letter_while_a_filter_is_typed() -> None:
    picture = Picture(Look())
    for key in "/qb?":
        pressed(key, picture)
    assert (picture.look.wanted, picture.look.only_bad, picture.look.is_help) == ("qb?", False, False)
    pressed("\x1b", picture)
    with pytest.raises(Quit):
        pressed("q", picture)


def test_filter_by_a_service_shows_all_of_it() -> None:
    assert len(servers_in(drawn(Picture(Look(wanted="many")), size=(80, 100)))) == 61


def test_in_shadow_mode_a_weight_that_nobody_writes_is_not_bad() -> None:
    unwritten = service("web", real_server("198.51.100.1:80", weights=(1, 1, None)), in_sync=False)
    for mode, is_bad in (("shadow", False), ("enforce", True)):
        status = Status(daemon=statuses.daemon(mode=mode), services=(unwritten,))
        assert ("1 bad" in drawn(Picture(Look()), status)[1]) is is_bad


def test_text_of_a_server_cannot_move_the_cursor() -> None:
    status = Status(
        daemon=statuses.daemon(), services=(service("\x1b[2J", real_server("1.2.3.4:80", "down", "\x1b]0;x\a\n")),)
    )
    assert all(line.isprintable() for line in drawn(Picture(Look()), status))


def test_picture_of_ten_thousand_servers_draws_only_what_is_in_sight() -> None:
    servers = [real_server(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}:80") for n in range(10_000)]
    answer = Answer(Status(daemon=statuses.daemon(), services=(service("web", *servers),)), NOW)
    picture = Picture(Look())
    picture.lines(answer, 200, 50, NOW)
    began = time.process_time()
    for _ in range(20):
        pressed("j", picture)
        picture.lines(answer, 200, 50, NOW)
    # It takes 2 ms. All lines would take 300 ms.
    assert (time.process_time() - began) / 20 < 0.05
