"""What an open page is told: the parts that have changed since it was told last, in messages of bounded size. Pure."""

from typing import Any

import msgspec

from lvs_healthd.page.rows import Part, Shown

MOST_BYTES = 25_000
"""How long the parts of one message may be, characters. What does not fit comes with the next one. With the order and
the times of all rows, and quotes escaped, a message stays below 50 kB."""


class Told:
    """What one open page shows now.

    page: what it was made of.
    """

    def __init__(self, page: Shown) -> None:
        self._page, self._is_whole = page, True
        self._parts: dict[str, str] = dict(_parts(page))
        self._order = _order(page)

    def news(self, page: Shown) -> bytes:
        """Return what to tell an open page so that it shows `page`; b"" for nothing, as when it is the same page again.

        The message is JSON. `parts` has an id and the new HTML of each part that changed. `order`, if it is there, has
        the id of each service with those of its rows; what is not in it is gone. `times` has the id of each row and its
        latency in milliseconds. An order may name parts that come later; they are left out until then.
        """
        is_again = page is self._page
        if is_again and self._is_whole:
            return b""
        message: dict[str, Any] = {}
        order, parts = _order(page), dict(_parts(page))
        changed: list[tuple[str, str]] = []
        size, is_whole = 0, True
        for name, html in parts.items():
            if self._parts.get(name) == html:
                continue
            size += len(html)
            if changed and size > MOST_BYTES:
                is_whole = False
                break
            changed.append((name, html))
            self._parts[name] = html
        for gone in self._parts.keys() - parts.keys():
            del self._parts[gone]
        if changed:
            message["parts"] = changed
        if order != self._order:
            message["order"] = order
        # Once the rest has come, the page must find a place for it.
        self._order = order if is_whole else []
        self._page, self._is_whole = page, is_whole
        if not is_again and (times := _times(page)):
            message["times"] = times
        return msgspec.json.encode(message) if message else b""


def _times(page: Shown) -> list[tuple[str, float]]:
    return [
        (row.name, latency)
        for block in page.blocks
        for row, latency in zip(block.rows, block.latencies, strict=True)
        if latency is not None
    ]


def _parts(page: Shown) -> list[Part]:
    return [page.top, *(part for block in page.blocks for part in (block.heading, *block.rows))]


def _order(page: Shown) -> list[tuple[str, list[str]]]:
    return [(block.heading.name, [row.name for row in block.rows]) for block in page.blocks]
