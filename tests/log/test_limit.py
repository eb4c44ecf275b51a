"""The rate limit, stepped by hand."""

from lvs_healthd.log.limit import LINES_PER_SECOND, RateLimit


def test_any_second_holds_at_most_the_limit() -> None:
    limit = RateLimit()
    times = [step / 100 for step in range(1000)]  # 100 a second for ten seconds
    admitted = [now for now in times if limit.admit("real_server.down", now)]
    for start in times:
        assert sum(start <= now < start + 1 for now in admitted) <= LINES_PER_SECOND
    assert len(admitted) >= 9 * LINES_PER_SECOND


def test_names_do_not_share_their_limit() -> None:
    limit = RateLimit()
    for _ in range(100):
        limit.admit("real_server.down", 0.0)
    assert limit.admit("table.changed", 0.0)


def test_summary_is_due_a_second_after_the_first_suppressed_line_and_taken_once() -> None:
    limit = RateLimit()
    for _ in range(LINES_PER_SECOND + 5):
        limit.admit("real_server.down", 10.0)
    for _ in range(LINES_PER_SECOND + 7):
        limit.admit("check.failing", 10.5)
    assert not limit.due(10.999)
    assert limit.due(11.0)
    assert limit.take() == [({"check.failing": 7, "real_server.down": 5}, {})]
    assert not limit.due(20.0)
    assert limit.take() == []


def test_summary_says_what_was_held_back_most_frequent_first() -> None:
    limit = RateLimit()
    for number in range(LINES_PER_SECOND + 9):
        about = "web: connection refused" if number % 3 else "db: no answer in 1s"
        limit.admit("real_server.down", 10.0, about=about)
    ((counts, most),) = limit.take()
    assert counts == {"real_server.down": 9}
    assert most == {"real_server.down web: connection refused": 6, "real_server.down db: no answer in 1s": 3}
    assert list(most.values()) == [6, 3]


def test_kinds_of_one_name_do_not_share_their_limit() -> None:
    limit = RateLimit()
    for _ in range(100):
        limit.admit("table.changed", 0.0, kind="delete_server")
    assert limit.admit("table.changed", 0.0, kind="add_server")


def test_same_message_of_a_library_is_written_once_a_minute() -> None:
    limit = RateLimit()
    told = [now for now in range(180) if limit.admit_message("library.message", float(now), "asyncio: accept failed")]
    assert told == [0, 60, 120]
    assert limit.admit_message("library.message", 180.5, "asyncio: something else")


def test_nothing_suppressed_is_never_due() -> None:
    limit = RateLimit()
    limit.admit("real_server.down", 0.0)
    assert not limit.due(1000.0)
