"""What the page shows, and in which order."""

import re

import msgspec
import pytest

from lvs_healthd.page.document import overview
from lvs_healthd.page.rows import MOST_ROWS, Asked, shown
from lvs_healthd.view.status_values import Status
from tests import statuses
from tests.statuses import NOW, real_server, service


def page(status: Status, *, text: str = "", only_bad: bool = False, first: int = 0) -> str:
    return "".join(overview(shown(status, Asked(text, only_bad, first), NOW)))


def servers(html: str) -> list[str]:
    return re.findall(r'<th scope="row"><a[^>]*>([^<]*)</a>', html)


def test_bad_services_come_first_and_in_each_of_them_bad_servers() -> None:
    well = service("a-well", real_server("198.51.100.1:80"))
    half = service(
        "half", real_server("198.51.100.2:80"), real_server("198.51.100.3:80", "down", weights=(1, None, None))
    )
    dead = msgspec.structs.replace(
        service("z-dead", real_server("198.51.100.4:80", "down", weights=(1, None, None))), in_fallback=True
    )
    html = page(Status(daemon=statuses.daemon(), services=(well, half, dead)))
    assert servers(html) == ["198.51.100.4:80", "198.51.100.3:80", "198.51.100.2:80", "198.51.100.1:80"]
    assert "2 of 4 real servers up in 3 services" in html
    assert "NO REAL SERVER MAY SERVE" in html


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"text": "WEB"}, 3),
        ({"text": "198.51.100.12"}, 1),
        ({"text": "refused"}, 1),
        ({"text": "nobody is called so"}, 0),
        ({"only_bad": True}, 4),
    ],
)
def test_only_what_is_asked_for_is_shown(asked: dict[str, object], found: int) -> None:
    html = page(statuses.status(), **asked)  # type: ignore[arg-type]
    assert len(servers(html)) == found
    assert ("nothing matches" in html) == (not found)


def test_text_from_outside_is_text() -> None:
    named = "<script>alert(1)</script>\x1b"
    row = real_server("198.51.100.1:80", "down", named)
    status = Status(daemon=statuses.daemon(table_error=named), services=(service(named, row),))
    html = page(status, text="<script>")
    assert "<script>alert" not in html
    assert "\x1b" not in html
    assert html.count("&lt;script&gt;alert(1)") == 3  # the alarm, the heading, the reason


def test_many_servers_are_shown_on_many_pages_and_each_once() -> None:
    many = [real_server(f"198.51.{number // 250}.{number % 250}:80") for number in range(MOST_ROWS * 2 + 30)]
    status = Status(
        daemon=statuses.daemon(),
        services=tuple(service(f"s{at}", *many[at : at + 40]) for at in range(0, len(many), 40)),
    )
    seen: list[str] = []
    for first in (0, MOST_ROWS, 2 * MOST_ROWS):
        html = page(status, first=first)
        seen += servers(html)
        assert f"{first + 1} to {min(first + MOST_ROWS, len(many))} of {len(many)}" in html
        assert ('rel="next"' in html) == (first < 2 * MOST_ROWS)
    assert seen == [each.server for each in many]


def test_what_is_wrong_with_the_director_stands_above_everything() -> None:
    html = page(Status(daemon=statuses.daemon(table_error="EPERM", config_error="x.toml: no"), services=()))
    assert html.index('role="alert">TABLE ERROR: EPERM') < html.index("<main")
    assert "CONFIGURATION REJECTED" in html
    assert "no services are configured" in html
