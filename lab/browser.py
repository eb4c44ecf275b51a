"""A real browser without a screen (Chromium), driven by its DevTools protocol."""

import asyncio
import base64
import contextlib
import itertools
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = "chromium-headless-shell"
START_S = 60.0


class Browser:
    """One open page. Build one with `browsing`."""

    def __init__(self, channel: aiohttp.ClientWebSocketResponse) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)

    async def tell(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command, and return its result."""
        number = next(self._numbers)
        await self._channel.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(START_S):
            while True:
                answer = await self._channel.receive_json()
                if answer.get("id") == number:
                    assert "error" not in answer, answer
                    result: dict[str, Any] = answer["result"]
                    return result

    async def window(self, width: int, height: int, *, is_dark: bool = False) -> None:
        """Set the size of the window, pixels, and whether the visitor likes it dark."""
        await self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = "dark" if is_dark else "light"
        await self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def visit(self, address: str) -> None:
        """Open an address, and wait until it is there."""
        await self.tell("Page.navigate", url=address)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def value(self, expression: str) -> Any:
        """Return what an expression in JavaScript is worth."""
        found = await self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(START_S):
            while not await self.value(expression):
                await asyncio.sleep(0.05)

    async def press(self, key: str) -> None:
        """Press and release a key."""
        await self.tell("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.tell("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def picture(self, file: Path) -> None:
        """Write what is seen as PNG."""
        shot = await self.tell("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    async def accessible(self) -> list[tuple[str, str]]:
        """Return role and name of everything that a screen reader is told of."""
        tree = await self.tell("Accessibility.getFullAXTree")
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree["nodes"]
            if not node.get("ignored")
        ]


@contextlib.asynccontextmanager
async def browsing(*, scripts: bool = True) -> AsyncIterator[Browser]:
    """Have a browser for the length of the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [PROGRAM, "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as listed:
                    page = next(each for each in await listed.json() if each["type"] == "page")
                async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as channel:
                    browser = Browser(channel)
                    await browser.tell("Page.enable")
                    if not scripts:
                        await browser.tell("Emulation.setScriptExecutionDisabled", value=True)
                    yield browser
        finally:
            # The program is a script of the shell, which starts the browser as its child.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def _port(file: Path) -> int:
    async with asyncio.timeout(START_S):
        while not (file.exists() and file.read_text().count("\n")):
            await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])
