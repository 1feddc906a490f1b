"""Opens the page of a collector of telemetry in a browser without a window, and prints each of its tabs as a user sees it.

usage: telemetry_page.py BROWSER URL DIRECTORY

DIRECTORY is for its profile.
"""

import asyncio
import sys

from browser import open_page

# Requests that run and those that have ended.
SHOW_ALL = """
for (const list of document.querySelectorAll("select")) {
    const all = [...list.options].find(option => option.textContent.trim() == "Both");
    if (all) { list.value = all.value; list.dispatchEvent(new Event("change")); }
}
"""

TABS = ["Overview", "Capacity", "Processes", "GC", "Slow requests"]


async def show(page):
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


open_page(*sys.argv[1:], show)
