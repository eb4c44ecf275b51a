"""What an open page is told. A stand-in for the browser applies the messages, and must show what the page would."""

import json
from typing import Any

import msgspec

from lvs_healthd.page.feed import MOST_BYTES, Told
from lvs_healthd.page.rows import MOST_ROWS, Asked, Shown, shown
from lvs_healthd.view.status_values import RealServerStatus, Status
from tests import statuses
from tests.statuses import NOW, real_server, service


class Browser:
    """Does what script.js does, without a browser."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.order: list[tuple[str, list[str]]] = []

    def take(self, message: bytes) -> dict[str, Any]:
        if not message:
            return {}
        news: dict[str, Any] = json.loads(message)
        self.parts.update(news.get("parts", []))
        if "order" in news:
            self.order = [
                (name, [row for row in rows if row in self.parts]) for name, rows in news["order"] if name in self.parts
            ]
            kept = {"top", *(name for name, _ in self.order), *(row for _, rows in self.order for row in rows)}
            self.parts = {name: html for name, html in self.parts.items() if name in kept}
        return news


def shown_by(page: Shown) -> tuple[dict[str, str], list[tuple[str, list[str]]]]:
    parts = {"top": page.top.html}
    for block in page.blocks:
        parts |= {part.name: part.html for part in (block.heading, *block.rows)}
    return parts, [(block.heading.name, [row.name for row in block.rows]) for block in page.blocks]


def page(*servers: RealServerStatus, name: str = "web") -> Shown:
    status = Status(daemon=statuses.daemon(), services=(service(name, *servers), service("dns", servers[0])))
    return shown(status, Asked(), NOW)


A, B = real_server("198.51.100.1:80"), real_server("198.51.100.2:80")
DOWN = real_server("198.51.100.2:80", "down", "connection refused", weights=(1, None, None))


def test_only_what_has_changed_is_told() -> None:
    told, browser = Told(page(A, B)), Browser()
    assert set(json.loads(told.news(page(A, B)))) == {"times"}
    slower = msgspec.structs.replace(B, checks=tuple(msgspec.structs.replace(each, latency_s=0.5) for each in B.checks))
    news = browser.take(told.news(page(A, slower)))
    assert set(news) == {"times"}
    assert 500.0 in [ms for _, ms in news["times"]]
    news = browser.take(told.news(page(A, DOWN)))
    assert [html.count("connection refused") for _, html in news["parts"]].count(1) == 1
    # The heading says how many are up, the top too, and the bad server moves to the front.
    assert len(news["parts"]) == 3
    assert "order" in news


def test_page_becomes_what_a_new_one_would_be() -> None:
    told, browser = Told(Shown.nothing(Asked())), Browser()
    for now in (page(A, B), page(A, DOWN), page(A), page(DOWN, name="other"), page(A, B)):
        browser.take(told.news(now))
        assert (browser.parts, browser.order) == shown_by(now)
    assert "times" in browser.take(told.news(page(A, B)))


def test_messages_are_bounded_and_the_rest_follows() -> None:
    many = [real_server(f"198.51.{number // 250}.{number % 250}:80", reason="x" * 200) for number in range(MOST_ROWS)]
    told, browser, now = Told(Shown.nothing(Asked())), Browser(), page(*many)
    sizes: list[int] = []
    lengths: list[int] = []
    while (browser.parts, browser.order) != shown_by(now):
        message = told.news(now)
        lengths.append(len(message))
        news = browser.take(message)
        sizes.append(sum(len(html) for _, html in news["parts"]))
        assert len(sizes) < 40
    assert len(sizes) > 3
    assert max(sizes) <= MOST_BYTES
    assert max(lengths) <= 50_000
    assert told.news(now) == b""
    assert set(browser.take(told.news(page(*many)))) == {"times"}


def test_times_are_told_once_while_parts_of_the_same_page_follow() -> None:
    many = [real_server(f"198.51.{number // 250}.{number % 250}:80", reason="x" * 200) for number in range(MOST_ROWS)]
    told, now = Told(Shown.nothing(Asked())), page(*many)
    first, second = json.loads(told.news(now)), json.loads(told.news(now))
    assert ("times" in first, "times" in second) == (True, False)
    assert "parts" in second
