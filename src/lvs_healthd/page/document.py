"""The whole documents: the overview, one real server, and what a browser fetches beside them. Pure."""

import functools
from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources

import msgspec

from lvs_healthd.page.rows import EMPTY_TIME, MOST_ROWS, Asked, Block, Shown
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.why_values import CheckWhy, ServerWhy, Why
from lvs_healthd.view.why_words import lines

REFRESH_S = 10
"""How often a browser without scripts fetches the page again, seconds."""

SOON_S = 2
"""The same while the daemon starts, with scripts too."""

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="style.css">
{more}</head>
<body>
"""
_LIVE = '<script src="script.js" defer></script>\n<noscript><meta http-equiv="refresh" content="{every}"></noscript>\n'
_COLUMNS = ("real server", "verdict", "weight", "since", "probe", "reason")
_LEGEND = "Weight: configured/wanted/in the kernel's table; one number if all are equal; - means not in it."
_KEYS = "Keys: / search, b only what is bad, j and k next and previous real server, Enter why."


@functools.cache
def asset(name: str) -> bytes:
    """Return the style sheet or the script."""
    return resources.files("lvs_healthd.page").joinpath(name).read_bytes()


def overview(page: Shown) -> Iterator[str]:
    """Yield the overview in pieces."""
    asked = page.asked
    yield _HEAD.format(title="lvs-healthd", more=_LIVE.format(every=REFRESH_S))
    yield f'<header>\n<h1>lvs-healthd</h1>\n<div id="top">{page.top.html}</div>\n'
    yield _search(asked)
    yield '<p id="live" role="status" aria-live="polite"></p>\n</header>\n<main id="services">\n'
    if not page.blocks:
        yield f"<p>{'nothing matches' if asked.text or asked.only_bad else 'no services are configured'}</p>\n"
    for block in page.blocks:
        yield from _section(block)
    yield "</main>\n<footer>\n"
    yield from _pager(page)
    yield f"<p>{_LEGEND}</p>\n<p>{_KEYS}</p>\n</footer>\n</body>\n</html>\n"


def starting() -> str:
    """Return the page of a daemon that knows nothing yet. The browser asks again by itself."""
    more = f'<meta http-equiv="refresh" content="{SOON_S}">\n'
    body = "<header>\n<h1>lvs-healthd</h1>\n</header>\n<main>\n<p>the daemon is starting</p>\n</main>\n"
    return _HEAD.format(title="lvs-healthd", more=more) + f"{body}</body>\n</html>\n"


def server_page(answer: Why, service: str, server: str) -> Iterator[str]:
    """Yield the page that says why a real server is as it is, and what has happened to it."""
    title = f"{printable(service)} {printable(server)}"
    yield _HEAD.format(title=escape(title), more="")
    yield f'<header>\n<p><a href="./">all services</a></p>\n<h1>{escape(title)}</h1>\n</header>\n<main>\n<pre>'
    quiet = msgspec.structs.replace(answer, servers=tuple(map(_without_answers, answer.servers)))
    for line in lines(quiet):
        yield f"{escape(line)}\n"
    yield "</pre>\n</main>\n</body>\n</html>\n"


def _without_answers(server: ServerWhy) -> ServerWhy:
    """Leave out what the server answered to probes: that is for those who may ask over the control socket."""
    return msgspec.structs.replace(server, checks=tuple(map(_without_answer, server.checks)))


def _without_answer(check: CheckWhy) -> CheckWhy:
    failed = check.last_failed
    return msgspec.structs.replace(check, last_failed=failed and msgspec.structs.replace(failed, heard=""))


def _search(asked: Asked) -> str:
    checked = " checked" if asked.only_bad else ""
    return (
        '<form action="./" role="search">\n'
        f'<label>search <input type="search" name="q" value="{escape(asked.text)}"></label>\n'
        f'<label><input type="checkbox" name="bad" value="1"{checked}> only what is bad</label>\n'
        "<button>show</button>\n</form>\n"
    )


def _section(block: Block) -> Iterator[str]:
    name, html = block.heading
    yield f'<section id="{name}">\n<h2>{html}</h2>\n<table>\n<thead>{_cells(_COLUMNS)}</thead>\n<tbody>\n'
    for row, latency in zip(block.rows, block.latencies, strict=True):
        # Every row begins with <tr, which gets its id here.
        html = row.html.removeprefix("<tr")
        if latency is not None:
            html = html.replace(EMPTY_TIME, f'<td class="time">{latency:g} ms</td>')
        yield f'<tr id="{row.name}"{html}\n'
    yield "</tbody>\n</table>\n</section>\n"


def _cells(words: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{word}</th>' for word in words)
    return f"<tr>{cells}</tr>"


def _pager(page: Shown) -> Iterator[str]:
    first = page.asked.first
    if not first and page.servers <= MOST_ROWS:
        return
    last = min(first + MOST_ROWS, page.servers)
    yield f'<nav aria-label="pages">\n<p>real servers {min(first + 1, last)} to {last} of {page.servers}'
    if first:
        yield f' <a rel="prev" href="./{escape(page.asked.query(max(0, first - MOST_ROWS)))}">earlier</a>'
    if last < page.servers:
        yield f' <a rel="next" href="./{escape(page.asked.query(last))}">more</a>'
    yield "</p>\n</nav>\n"
