"""Opens the page of a collector of telemetry in a browser without a window, and prints each of its tabs as a user sees it.

usage: telemetry_page.py BROWSER URL DIRECTORY

The browser is driven by its debugging protocol. DIRECTORY is for its profile.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import aiohttp

# Requests that run and those that have ended.
SHOW_ALL = """
for (const list of document.querySelectorAll("select")) {
    const all = [...list.options].find(option => option.textContent.trim() == "Both");
    if (all) { list.value = all.value; list.dispatchEvent(new Event("change")); }
}
"""

TABS = ["Overview", "Capacity", "Processes", "GC", "Slow requests"]


class Page:
    """A page of the browser."""

    def __init__(self, socket):
        self._socket = socket
        self._number = 0

    async def run(self, script):
        self._number += 1
        parameters = {"expression": script, "returnByValue": True}
        await self._socket.send_json({"id": self._number, "method": "Runtime.evaluate", "params": parameters})
        while True:
            message = json.loads((await self._socket.receive(timeout=30)).data)
            if message.get("id") == self._number:
                result = message["result"]
                if "exceptionDetails" in result:
                    raise RuntimeError(result["exceptionDetails"])
                return result["result"].get("value")

    async def wait(self, script):
        for _ in range(300):
            if await self.run(script):
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(script)


async def show(browser, url, directory):
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
            page = Page(socket)
            # Before it has loaded, there is no body.
            await page.wait("document.body?.innerText.includes('connected')")
            for tab in TABS:
                find = f"[...document.querySelectorAll('.tab')].find(tab => tab.textContent.trim() == {tab!r})"
                await page.run(f"{find}.click()")
                await page.wait(f"{find}.classList.contains('active')")
                await page.run(SHOW_ALL)
                # It draws with the next samples.
                await asyncio.sleep(2)
                print(f"== {tab}")
                print(await page.run("document.body.innerText"))


def main(program, url, directory):
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
        asyncio.run(asyncio.wait_for(show(browser, url, directory), timeout=120))
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


main(*sys.argv[1:])
