"""Asks etcd by its JSON gateway: one request, one answer, each with a time limit; and watches."""

import asyncio
import base64
import contextlib
import io
import os
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

from lvs_healthd.runtime.authorities import client_context
from lvs_healthd.runtime.printable import printable
from lvs_healthd.runtime.resolver import LoneResolver
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.store.answers import (
    KeptAlive,
    Lease,
    NotAnAnswerError,
    Range,
    Refusal,
    Token,
    Transaction,
    Watched,
    Written,
    answer,
    watched,
)
from lvs_healthd.store.errors import (
    NO_AUTHENTICATION,
    OLD_PERMISSIONS,
    UNAUTHENTICATED,
    MissedError,
    RefusedError,
    StoreError,
    UnansweredError,
    UnreachedError,
)
from lvs_healthd.store.lines import LineSplitter, LongLineError

ANSWER_S = 5.0
"""How long an answer may take, seconds."""

CONNECT_S = 2.0
"""How long a connection may take, seconds."""

FILES_S = 5.0
"""How long reading a password or certificates may take, seconds."""

LARGEST_ANSWER = 64 * 1024 * 1024
"""The largest answer, bytes."""

LARGE = 256 * 1024
"""An answer of more bytes is decoded on a thread, because it would hold the event loop."""

_SHOWN = 200

_UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Errors before anything was sent."""

_Answer = TypeVar("_Answer", bound=msgspec.Struct)
_Decoded = TypeVar("_Decoded")


class Access(msgspec.Struct, frozen=True):
    """Where etcd is, and who asks."""

    endpoints: tuple[str, ...]
    """The URLs of its servers."""
    ca: str = ""
    """File with the certificates that are trusted; empty: those of the system."""
    user: str = ""
    """Empty: nobody in particular."""
    password: Callable[[], str] = lambda: ""
    """Reads the user's password, which may change. Raises `OSError`."""


class Compare(msgspec.Struct, frozen=True):
    """A condition of a transaction: a key, or all keys of a range, have not changed after a revision."""

    key: bytes
    revision: int
    range_end: bytes = b""
    exactly: bool = False
    """Whether the last change must have been at that revision. 0: the key is not there."""


class Put(msgspec.Struct, frozen=True):
    """A key to write."""

    key: bytes
    value: bytes
    lease: int = 0


class Delete(msgspec.Struct, frozen=True):
    """A key to delete."""

    key: bytes


class Ask(msgspec.Struct, frozen=True):
    """A range to read, only its keys."""

    key: bytes
    range_end: bytes


def prefix_end(prefix: bytes) -> bytes:
    """Return the end of the range of all keys that begin with a prefix, which must not end with the byte 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


class Client:
    """Asks one server of etcd at a time.

    access: where it is, and who asks.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._at = 0
        self._token = ""
        self._session: aiohttp.ClientSession | None = None

    @property
    def endpoint(self) -> str:
        """The URL of the server that is asked."""
        return self._access.endpoints[self._at]

    def go_on(self) -> None:
        """Ask the next server from now on."""
        self._at = (self._at + 1) % len(self._access.endpoints)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            await asyncio.sleep(0)  # lets them close

    async def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        newest_only: bool = False,
        at: int = 0,
        timeout_s: float = ANSWER_S,
    ) -> Range:
        """Read a key, or all keys of a range. Raises `StoreError`, as all methods do.

        newest_only: list only the key that has changed last, without its value.
        at: list only the keys that were there at this revision, without their values; 0 for now.
        """
        body: dict[str, Any] = {"key": _coded(key)}
        if at:
            body |= {"revision": str(at), "keys_only": True}
        if range_end:
            body["range_end"] = _coded(range_end)
        if newest_only:
            body |= {"limit": 1, "sort_order": "DESCEND", "sort_target": "MOD", "keys_only": True}
        return await self._ask("kv/range", body, Range, timeout_s)

    async def put(self, key: bytes, value: bytes, lease: int = 0) -> Written:
        """Write a key, which goes when the lease ends, if there is one."""
        return await self._ask("kv/put", _put(Put(key, value, lease)), Written)

    async def delete(self, key: bytes, range_end: bytes = b"") -> Written:
        """Delete a key, or all keys of a range."""
        body = {"key": _coded(key), **({"range_end": _coded(range_end)} if range_end else {})}
        return await self._ask("kv/deleterange", body, Written)

    async def transact(
        self, compares: Sequence[Compare], operations: Sequence[Put | Delete], ask: Ask | None = None
    ) -> Transaction:
        """Do all operations at once if all conditions hold, else none. The last response is the answer to `ask`."""
        success = _nested([_operation(each) for each in operations])
        if ask is not None:
            ends = {"key": _coded(ask.key), "range_end": _coded(ask.range_end)}
            success.append({"request_range": {**ends, "keys_only": True}})
        body = {"compare": [_compare(each) for each in compares], "success": success}
        return await self._ask("kv/txn", body, Transaction)

    async def grant(self, ttl_s: int) -> Lease:
        """Return a new lease, which ends after so many seconds unless it is kept alive."""
        return await self._ask("lease/grant", {"TTL": ttl_s}, Lease)

    async def keep_alive(self, lease: int) -> int:
        """Let a lease begin again. Return how long it lasts, seconds; 0 if it is gone."""
        return (await self._ask("lease/keepalive", {"ID": lease}, KeptAlive)).result.TTL

    async def watch(self, key: bytes, range_end: bytes, revision: int) -> AsyncIterator[Watched]:
        """Yield what happens to the keys of a range from a revision on.

        Ends with a `StoreError` in any case: `MissedError` if everything must be read again. It says nothing while the
        server is silent, so somebody must ask whether it still lives.
        """
        create = {"key": _coded(key), "range_end": _coded(range_end), "start_revision": revision}
        splitter = LineSplitter()
        async with self._posted("watch", {"create_request": create}) as response:
            if response.status != 200:
                raise await self._refusal(response)
            async for data in response.content.iter_any():
                try:
                    lines = splitter.take(data)
                except LongLineError:
                    raise MissedError(f"{self.endpoint}: more than {LARGEST_ANSWER} bytes at once") from None
                for line in lines:
                    yield await self._watched(line)
        raise UnansweredError(f"{self.endpoint}: etcd has ended the watch; it is stopping, perhaps")

    async def _watched(self, line: bytes) -> Watched:
        try:
            found = await _decoded(watched, line)
        except NotAnAnswerError as error:
            raise MissedError(f"{self.endpoint}: not what etcd says to a watch: {error}") from None
        if isinstance(found, Refusal):
            raise RefusedError(self.endpoint, found.code, found.reason)
        if found.canceled:
            if found.compact_revision:
                raise MissedError(f"{self.endpoint}: etcd has forgotten the changes up to {found.compact_revision}")
            # A token that is not valid any more ends a watch too. The next request says so, and gets a new one.
            raise RefusedError(self.endpoint, 0, found.cancel_reason or "it has cancelled the watch")
        return found

    async def _ask(self, path: str, body: object, kind: type[_Answer], timeout_s: float = ANSWER_S) -> _Answer:
        try:
            async with asyncio.timeout(timeout_s):
                if self._access.user and not self._token:
                    await self._authenticate()
                try:
                    return await self._once(path, body, kind)
                except RefusedError as error:
                    is_old = error.code == UNAUTHENTICATED or OLD_PERMISSIONS in error.reason
                    if not (is_old and self._access.user):
                        raise
                await self._authenticate()
                return await self._once(path, body, kind)
        except TimeoutError:
            raise UnansweredError(f"{self.endpoint}: no answer in {timeout_s:g}s") from None

    async def _authenticate(self) -> None:
        self._token = ""
        try:
            password = await in_thread(self._access.password, timeout_s=FILES_S, what="reading the password of etcd")
        except (OSError, HungError) as error:
            raise StoreError(f"[fleet] password_file: {error}") from error
        try:
            body = {"name": self._access.user, "password": password}
            self._token = (await self._once("auth/authenticate", body, Token)).token
        except RefusedError as error:
            if NO_AUTHENTICATION not in error.reason:
                raise

    async def _once(self, path: str, body: object, kind: type[_Answer]) -> _Answer:
        async with self._posted(path, body) as response:
            if response.status != 200:
                raise await self._refusal(response)
            content = await self._content(response)
        try:
            return await _decoded(lambda data: answer(data, kind), content)
        except NotAnAnswerError as error:
            raise UnansweredError(f"{self.endpoint}: something answers, but not etcd's JSON gateway: {error}") from None

    async def _refusal(self, response: aiohttp.ClientResponse) -> StoreError:
        content = await self._content(response)
        with contextlib.suppress(NotAnAnswerError):
            found = answer(content, Refusal)
            if found.reason:
                return RefusedError(self.endpoint, found.code, found.reason)
        return UnansweredError(
            f"{self.endpoint}: something answers with status {response.status}, but not etcd's JSON gateway"
        )

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > LARGEST_ANSWER:
                raise UnansweredError(f"{self.endpoint}: an answer of more than {LARGEST_ANSWER} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    @contextlib.asynccontextmanager
    async def _posted(self, path: str, body: object) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, and yield the answer while it arrives. Explains what goes wrong meanwhile."""
        session = self._session or await self._opened()
        headers = {"Content-Type": "application/json", **({"Authorization": self._token} if self._token else {})}
        url = f"{self.endpoint}/v3/{path}"
        try:
            # A redirect may lead anywhere, and would give away the token.
            async with session.post(
                url, data=io.BytesIO(msgspec.json.encode(body)), headers=headers, allow_redirects=False
            ) as response:
                yield response
        except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
                raise
            kind = UnreachedError if isinstance(error, _UNREACHED) else UnansweredError
            raise kind(f"{self.endpoint}: {_why(error, self.endpoint)}") from error

    async def _opened(self) -> aiohttp.ClientSession:
        hosts = [urllib.parse.urlsplit(each) for each in self._access.endpoints]
        is_secure = any(each.scheme == "https" for each in hosts)
        connector = aiohttp.TCPConnector(
            ssl=await self._trusting() if is_secure else True, resolver=LoneResolver(CONNECT_S)
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            # By default, aiohttp ends everything after five minutes, watches too.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self._session

    async def _trusting(self) -> ssl.SSLContext:
        ca = self._access.ca
        try:
            return await in_thread(client_context, ca, timeout_s=FILES_S, what="reading trusted certificates")
        except (OSError, HungError) as error:
            raise StoreError(f"[fleet] ca: cannot use {ca or 'the certificates of the system'}: {error}") from error


async def _decoded(decode: Callable[[bytes], _Decoded], content: bytes) -> _Decoded:
    if len(content) < LARGE:
        return decode(content)
    try:
        return await in_thread(decode, content, timeout_s=ANSWER_S, what="decoding an answer of etcd")
    except HungError as error:
        raise UnansweredError(str(error)) from error


def _why(error: Exception, endpoint: str) -> str:
    """Say in words why there is no answer from a server."""
    other = "http" if endpoint.startswith("https:") else "https"
    hung_up = f"it has hung up: it is stopping, or wants {other}:// in [fleet] store"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return hung_up
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {printable(str(error.certificate_error))[:_SHOWN]}; see [fleet] ca"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = getattr(error.os_error, "reason", "") or str(error.os_error)
        return f"no TLS: {printable(reason)[:_SHOWN]}; if etcd has no certificate, write http:// in [fleet] store"
    if isinstance(error, aiohttp.ServerTimeoutError):
        return f"no connection in {CONNECT_S:g}s"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        reason = os.strerror(number) if number else error.strerror or str(error.os_error)
        return f"no connection: {printable(reason)[:_SHOWN]}" if reason else hung_up
    return printable(str(error) or type(error).__name__)[:_SHOWN]


def _coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _put(put: Put) -> dict[str, Any]:
    body: dict[str, Any] = {"key": _coded(put.key), "value": _coded(put.value)}
    return body | ({"lease": str(put.lease)} if put.lease else {})


def _operation(operation: Put | Delete) -> dict[str, Any]:
    if isinstance(operation, Put):
        return {"request_put": _put(operation)}
    return {"request_delete_range": {"key": _coded(operation.key)}}


MOST_AT_ONCE = 60
"""etcd takes 128 operations in one transaction (--max-txn-ops), less those around it. So many of so many each fit."""


def _nested(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pack many operations into transactions within the transaction. The answers to those are not of interest."""
    if len(operations) <= MOST_AT_ONCE:
        return operations
    packed = [operations[at : at + MOST_AT_ONCE] for at in range(0, len(operations), MOST_AT_ONCE)]
    return [{"request_txn": {"success": each}} for each in packed]


def _compare(compare: Compare) -> dict[str, Any]:
    result = ("EQUAL", compare.revision) if compare.exactly else ("LESS", compare.revision + 1)
    body = {"key": _coded(compare.key), "target": "MOD", "result": result[0], "mod_revision": str(result[1])}
    return body | ({"range_end": _coded(compare.range_end)} if compare.range_end else {})
