"""Looks at the page of wsgi-status in a browser, as people with large and small, light and dark screens do, with and without a mouse.

usage: status_page.py BROWSER URL DIRECTORY GATE [SCREENSHOTS]

DIRECTORY is for the browser's profile. A request for /hold is under way, and ends when the file GATE is there. Pictures of the page go to
the directory SCREENSHOTS. What is not as it should be, ends this with an error.
"""

import asyncio
import base64
import os
import sys

from browser import open_page

# Errors of scripts, and what the policy of the page has refused.
WATCH = """
window.refused = [];
addEventListener("securitypolicyviolation", event => refused.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
addEventListener("error", event => refused.push(String(event.message)));
addEventListener("unhandledrejection", event => refused.push(String(event.reason)));
"""

# Returns the texts that have too little contrast: WCAG asks for 4.5.
CONTRAST = """
(() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = color => { context.clearRect(0, 0, 1, 1); context.fillStyle = color; context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data; return { rgb: [r, g, b], a }; };
  const light = ([r, g, b]) => { const line = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b); };
  const ground = element => { for (; element; element = element.parentElement) {
    const color = rgba(getComputedStyle(element).backgroundColor); if (color.a === 255) return color.rgb; } return [255, 255, 255]; };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || /SCRIPT|STYLE/.test(element.nodeName)) continue;
    const [one, other] = [light(rgba(getComputedStyle(element).color).rgb), light(ground(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(1)} ${node.data.trim()}`);
  }
  return poor;
})()
"""

# Returns what a screen reader would not find its way by.
ACCESS = """
(() => {
  const all = selector => [...document.querySelectorAll(selector)];
  const bad = [];
  const ask = (what, elements) => elements.forEach(element => bad.push(`${what}: ${element.outerHTML.slice(0, 200)}`));
  for (const landmark of ["header", "main", "footer", "[role=search]"])
    if (all(landmark).length !== 1) bad.push(`not one ${landmark}`);
  ask("section without a name", all("section").filter(section => !document.getElementById(section.getAttribute("aria-labelledby"))));
  ask("table without a caption", all("table").filter(table => !table.caption?.textContent.trim()));
  ask("header cell without a scope", all("th").filter(cell => !cell.scope));
  ask("row without a header or the wrong number of cells", all("table").filter(table => [...table.rows].some(row => row.cells.length !== table.rows[0].cells.length)));
  ask("picture without a name", all("svg").filter(svg => svg.getAttribute("role") !== "img" || !svg.getAttribute("aria-label")));
  ask("field without a label", all("input").filter(input => !input.labels.length));
  ask("button without a name", all("button, a, summary").filter(element => !element.textContent.trim()));
  const ids = all("[id]").map(element => element.id);
  ids.filter((id, index) => ids.indexOf(id) !== index).forEach(id => bad.push(`the id ${id} is there twice`));
  const levels = all("h1, h2, h3").map(heading => +heading.nodeName[1]);
  if (levels.some((level, index) => level - (levels[index - 1] ?? 0) > 1)) bad.push(`headings ${levels}`);
  if (!document.documentElement.lang || !document.title) bad.push("no language or title");
  return bad;
})()
"""

# Has the page get something else than what the server says, until it is to ask the server again. `change` makes another page of one.
ANSWERS = """
window.ask = window.fetch;
window.answer = make => { window.fetch = make ? (...request) => make(...request) : window.ask; };
window.change = make => answer(async (...request) => new Response(make(await (await ask(...request)).text())));
"""

# Answers that are no status, each with what the page says about it.
LOST = [
    ("async () => new Response('', { status: 403 })", "status 403"),
    ("async () => new Response('{}', { headers: { 'Content-Type': 'application/json' } })", "another page"),
    ("async () => { throw new TypeError('Failed to fetch'); }", "cannot be reached"),
    ("async () => new Response('<html><body><form>Sign in</form></body></html>')", "another page"),
    ("(url, options) => ask('/302', options)", "leads elsewhere"),
    ("async () => new Response('', { status: 500 })", "status 500"),
]

UPDATED = "document.querySelector('#updated time').dateTime"


def check(name, found, expected):
    if found != expected:
        sys.exit(f"{name}: {found!r}, and not {expected!r}")


async def updated(page, times=1):
    """Waits until the page has got itself again."""
    for _ in range(times):
        before = await page.run(UPDATED)
        await page.wait(f"{UPDATED} != {before!r}")


async def look(page, width, height, scheme, picture):
    """Looks at the page on a screen of a size, and takes a picture of the whole."""
    await page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    name = f"{width} {scheme}"
    await page.run("document.querySelectorAll('details').forEach(details => details.open = true)")
    check(f"{name}: too wide", await page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"), 0)
    check(f"{name}: contrast", await page.run(CONTRAST), [])
    dark = await page.run("getComputedStyle(document.body).backgroundColor")
    check(f"{name}: the ground is dark", sum(map(int, dark[4:-1].split(","))) < 200, scheme == "dark")
    size = await page.call("Page.getLayoutMetrics")
    clip = {"x": 0, "y": 0, "width": width, "height": min(size["cssContentSize"]["height"], 6000), "scale": 1}
    shot = await page.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    if len(sys.argv) > 5:
        with open(os.path.join(sys.argv[5], f"status-{picture}.png"), "wb") as file:
            file.write(base64.b64decode(shot["data"]))


async def press(page, key, code, modifiers=0):
    for kind in ("keyDown", "keyUp"):
        await page.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, modifiers=modifiers)


async def lose(page):
    """Has the page get no status for a while."""
    await page.run(ANSWERS)
    for answer, words in LOST:
        await page.run(f"answer({answer})")
        await page.wait(f"document.body.matches('.lost') && document.querySelector('#updated').innerText.includes({words!r})")
        check(f"{words}: announced", words in await page.run("document.getElementById('announce').textContent"), True)
        check(f"{words}: what was known stays", await page.run("document.querySelectorAll('#groups .group').length > 0"), True)
    await page.run("answer()")
    await page.wait("!document.body.matches('.lost') && document.querySelector('#updated time') !== null")
    check("announced", await page.run("document.getElementById('announce').textContent"), "No problems")


async def change(page):
    """Has the page get pages that few servers have."""
    # What comes after a pause began is not shown.
    await page.run("answer((url, options) => new Promise((resolve, reject) => { window.go = () => ask(url).then(resolve, reject); }))")
    await page.wait("typeof go == 'function'")
    before = await page.run(UPDATED)
    await page.run("document.getElementById('pause').click()")
    await page.run("go().then(() => new Promise(resolve => setTimeout(resolve, 1000)))")
    check("paused", await page.run(UPDATED), before)
    await page.run("answer(); document.getElementById('pause').click()")
    await updated(page)

    # Elements with the same key are all shown.
    for texts in (["one", "two"], ["zero", "one", "two"], ["two", "three"]):
        items = "".join(f'<li data-key="1">{text}</li>' for text in texts)
        await page.run(f"change(text => text.replace(/<section id=\"groups\"[^]*?<.section>/, '<section id=\"groups\"><ol>{items}</ol></section>'))")
        await page.wait(f"[...document.querySelectorAll('#groups li')].map(item => item.textContent).join(' ') == {' '.join(texts)!r}")

    # Long names of groups and virtual hosts fit on the screen.
    long = "'>' + 'name-'.repeat(50) + '<'"
    await page.run(f"change(text => text.replaceAll('>e2e<', {long}).replaceAll('>main server<', {long}))")
    await page.wait("document.querySelector('#requests')?.innerText.includes('name-name-')")
    for width in (1600, 1000, 400):
        await look(page, width, 900, "light", f"names-{width}")
    await page.run("answer()")
    await page.wait("document.querySelector('#requests')?.innerText.includes('e2e')")


async def show(page):
    await page.call("Page.enable")
    await page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
    await page.call("Page.reload")
    await page.wait("window.refused && document.querySelector('#requests')?.innerText.includes('/hold')")

    # It keeps itself up to date, without being loaded again.
    await page.run("window.mark = 1")
    await updated(page, 2)
    check("loaded again", await page.run("window.mark"), 1)

    for width, height in ((1600, 1000), (400, 900)):
        for scheme in ("light", "dark"):
            await look(page, width, height, scheme, f"{width}-{scheme}")
    check("access", await page.run(ACCESS), [])

    # What is unfolded and focused stays so.
    await page.run("document.querySelector('.group').open = false; document.querySelector('.group > summary').focus()")
    await page.run("document.querySelector('.group > summary').mark = 1")
    await updated(page, 2)
    check("folded again", await page.run("document.querySelector('.group').open"), False)
    check("focus", await page.run("document.activeElement?.mark"), 1)
    await press(page, "Enter", 13)
    await page.call("Input.dispatchKeyEvent", type="char", text="\r")
    await page.wait("document.querySelector('.group').open")
    await updated(page)
    check("folded", await page.run("document.querySelector('.group').open"), True)

    # Nothing is read out while nothing is wrong that was not before.
    check("announced", await page.run("document.getElementById('announce').textContent"), "")

    # The filter works as one types, and stays in the address.
    await page.run("document.getElementById('filter').focus()")
    await page.call("Input.insertText", text="no such thing")
    await page.wait("!document.querySelector('.group') && !document.querySelector('#requests table')")
    check("address", await page.run("location.search"), "?filter=no+such+thing")
    await page.run("document.getElementById('filter').select()")
    await page.call("Input.insertText", text="/HOLD")
    await page.wait("document.querySelector('#requests')?.innerText.includes('/hold')")
    check("the filter has the focus", await page.run("document.activeElement.id"), "filter")
    await page.run("document.getElementById('filter').select()")
    await press(page, "Delete", 46)
    await page.wait("document.querySelector('.group') && location.search == ''")

    # It stops, and goes on.
    await page.run("document.getElementById('pause').click()")
    check("pressed", await page.run("document.getElementById('pause').getAttribute('aria-pressed')"), "true")
    before = await page.run(UPDATED)
    await asyncio.sleep(4.5)
    check("paused", await page.run(UPDATED), before)
    await page.run("document.getElementById('pause').click()")
    await updated(page)

    await lose(page)
    await change(page)

    # The request ends.
    with open(sys.argv[4], "w"):
        pass
    await page.wait("!document.querySelector('#requests').innerText.includes('/hold')")
    check("loaded again", await page.run("window.mark"), 1)
    check("refused", await page.run("refused"), [])

    # Without scripts, it is all there, and reloads itself.
    await page.call("Emulation.setScriptExecutionDisabled", value=True)
    await page.call("Page.reload")
    await page.wait("document.querySelector('.group') && document.querySelector('#pause').hidden")
    check("reloads itself", await page.run("document.querySelector('noscript meta')?.httpEquiv"), "refresh")
    print("ok")


open_page(*sys.argv[1:4], show)
