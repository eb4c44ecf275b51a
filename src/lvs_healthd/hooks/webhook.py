"""Posts events to a URL, signed if there is a key."""

import asyncio
import hashlib
import hmac
import secrets
import urllib.parse

import aiohttp
import msgspec

from lvs_healthd import __version__
from lvs_healthd.config.hook_model import Hook
from lvs_healthd.config.secret_files import read_password
from lvs_healthd.hooks.facts import NotToldError
from lvs_healthd.hooks.trust import READ_S, trusting
from lvs_healthd.runtime.printable import printable
from lvs_healthd.runtime.resolver import LoneResolver
from lvs_healthd.runtime.threads import HungError, in_thread

SIGNATURE = "X-Signature-256"
"""The header with "sha256=" and the HMAC of the body in hexadecimal, as GitHub's X-Hub-Signature-256."""
DELIVERY = "X-Delivery"
"""The header by which a receiver knows a message that was sent before."""

_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS = 408, 429
_SHOWN = 200


class Post(msgspec.Struct, frozen=True):
    """What is posted, with the name of this message."""

    body: bytes
    delivery: str


def post(body: bytes) -> Post:
    """Return what is posted, with a new name."""
    return Post(body, secrets.token_hex(16))


def signature(key: str, body: bytes) -> str:
    """Return the value of the header that proves who has posted a body (RFC 2104 with SHA-256)."""
    return "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


class Webhook:
    """Posts to the URL of a hook, over one connection that is kept for a while."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._host = urllib.parse.urlsplit(hook.url).hostname or ""
        self._session: aiohttp.ClientSession | None = None

    async def send(self, payload: object) -> None:
        """Send a `Post`. Raises `NotToldError` unless the answer has a status from 200 to 299."""
        if not isinstance(payload, Post):
            raise TypeError(payload)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"lvs-healthd/{__version__}",
            DELIVERY: payload.delivery,
        }
        if self._hook.secret_file:
            headers[SIGNATURE] = signature(await self._key(), payload.body)
        session = self._session or await self._opened()
        try:
            # A redirect may lead anywhere, and would turn the request into another one.
            async with session.post(
                self._hook.url, data=payload.body, headers=headers, allow_redirects=False
            ) as answered:
                status = answered.status
        except TimeoutError:
            why = f"no answer from {self._host} in {self._hook.timeout:g}s"
            raise NotToldError(why, may_work_later=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = printable(str(error) or type(error).__name__)[:_SHOWN]
            raise NotToldError(f"cannot post to {self._host}: {why}", may_work_later=True) from error
        if not 200 <= status < 300:
            again = status >= 500 or status in {_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS}
            raise NotToldError(f"{self._host} answered with status {status}", may_work_later=again)

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # lets the connection close

    async def _key(self) -> str:
        """Read the key again each time, so that it can be replaced at any time."""
        path = self._hook.secret_file
        try:
            return await in_thread(read_password, path, timeout_s=READ_S, what=f"reading {path}")
        except (OSError, HungError) as error:
            raise NotToldError(f"cannot use {path}: {error}", may_work_later=True) from error

    async def _opened(self) -> aiohttp.ClientSession:
        is_secure = self._hook.url.startswith("https:")
        resolver = LoneResolver(self._hook.timeout)
        connector = aiohttp.TCPConnector(
            ssl=await trusting(self._hook.ca) if is_secure else True, limit=1, resolver=resolver
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._hook.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self._session
