"""A browser without a window, driven by its debugging protocol."""

import asyncio
import json
import os
import signal
import subprocess
import time

import aiohttp


class Page:
    """A page of the browser."""

    def __init__(self, socket):
        self._socket = socket
        self._number = 0

    async def call(self, method, **parameters):
        """Calls a method of the protocol, and returns its result."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = json.loads((await self._socket.receive(timeout=30)).data)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    async def run(self, script):
        """Returns the value of an expression in the page."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    async def wait(self, script):
        """Waits until an expression is true."""
        for _ in range(300):
            if await self.run(script):
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(script)


async def connect(browser, url, directory, use):
    port_file = os.path.join(directory, "DevToolsActivePort")
    deadline = time.monotonic() + 30
    while not os.path.exists(port_file):
        if browser.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the browser does not start")
        await asyncio.sleep(0.1)
    with open(port_file) as file:
        port = file.readline().strip()
    async with aiohttp.ClientSession() as session:
        async with session.put(f"http://127.0.0.1:{port}/json/new?{url}") as response:
            target = (await response.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(target, max_msg_size=0) as socket:
            await use(Page(socket))


def open_page(program, url, directory, use):
    """Opens a URL in a browser whose profile is in a directory, and awaits use(page)."""
    command = [program, "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={directory}"]
    # The program is a script that runs another one, so there is a group to end.
    browser = subprocess.Popen(
        [*command, "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        asyncio.run(asyncio.wait_for(connect(browser, url, directory, use), timeout=120))
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
