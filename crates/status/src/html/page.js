"use strict";
// Gets the page again at intervals, and changes what has changed. Elements are kept where they are, so focus, selection
// and what the user has folded stay as they are.
(() => {
  const INTERVAL = 2000;
  const pause = document.getElementById("pause");
  const announcer = document.getElementById("announce");
  const filter = document.getElementById("filter");
  let isPaused = false;
  let isLost = false;
  let timer = 0;
  let running = null;
  let lastUpdate = "";
  let said = announcer.dataset.text;

  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "");
  const isSame = (one, other) =>
    one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

  // Makes an element like another one.
  function change(now, next) {
    if (now.nodeType !== Node.ELEMENT_NODE) {
      if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue;
      return;
    }
    for (const { name, value } of next.attributes) {
      // The user folds and unfolds.
      if (name === "open") continue;
      if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    }
    for (const { name } of [...now.attributes]) {
      if (name !== "open" && !next.hasAttribute(name)) now.removeAttribute(name);
    }
    changeChildren(now, next);
  }

  function changeChildren(now, next) {
    const wantedKeys = new Set([...next.childNodes].map(keyOf).filter(Boolean));
    // A key may be there more than once. Each element is used once.
    const keyed = new Map();
    for (const child of now.childNodes) {
      const key = keyOf(child);
      if (!key) continue;
      if (keyed.has(key)) keyed.get(key).push(child);
      else keyed.set(key, [child]);
    }
    let place = now.firstChild;
    for (const wanted of [...next.childNodes]) {
      const key = keyOf(wanted);
      let found = (key ? keyed.get(key)?.shift() : place && !keyOf(place) ? place : null) ?? null;
      if (found && !isSame(found, wanted)) found = null;
      if (!found) {
        now.insertBefore(document.importNode(wanted, true), place);
        continue;
      }
      if (found === place) place = place.nextSibling;
      else {
        // What is between has gone, most often: then nothing needs to be moved.
        let rest = place;
        const gone = [];
        while (rest && rest !== found) {
          gone.push(rest);
          rest = rest.nextSibling;
        }
        if (rest && !gone.some((node) => wantedKeys.has(keyOf(node)))) {
          for (const node of gone) node.remove();
          place = found.nextSibling;
        } else now.insertBefore(found, place);
      }
      change(found, wanted);
    }
    while (place) {
      const following = place.nextSibling;
      place.remove();
      place = following;
    }
  }

  // Has a screen reader say something, if it is new.
  function announce(text) {
    if (text === said) return;
    said = text;
    announcer.textContent = text;
  }

  function showLost(error) {
    const updated = document.getElementById("updated");
    if (!isLost) lastUpdate = updated.querySelector("time")?.textContent ?? "a while";
    isLost = true;
    document.body.classList.add("lost");
    updated.textContent = `Not updated since ${lastUpdate} UTC: ${error}`;
    announce(`The page is not updated: ${error}`);
  }

  // Returns the reason why there is no answer.
  function reasonOf(error) {
    if (error.name === "AbortError") return "no answer";
    // So browsers call all failures of the network, each in other words.
    return error instanceof TypeError ? `the server cannot be reached (${error.message})` : error.message;
  }

  async function refresh() {
    clearTimeout(timer);
    running?.abort();
    const request = (running = new AbortController());
    const limit = setTimeout(() => request.abort(), 10000);
    try {
      const address = location.pathname + location.search;
      // Whoever has to sign in again is led to a page for that, elsewhere perhaps, where the policy lets nothing be read.
      const response = await fetch(address, { cache: "no-store", redirect: "manual", signal: request.signal });
      if (response.type === "opaqueredirect") throw new Error("the address leads elsewhere now; load the page again");
      if (!response.ok) throw new Error(`status ${response.status}`);
      // The policy of this page would refuse the style of the other one, and report it.
      const text = await response.text();
      const page = new DOMParser().parseFromString(text.slice(text.indexOf("<body>")), "text/html");
      if (running !== request) return;
      if (!page.getElementById("updated")) throw new Error("the answer is another page");
      const focused = document.activeElement;
      for (const id of ["overview", "problems", "requests", "groups", "events"]) {
        const [now, next] = [document.getElementById(id), page.getElementById(id)];
        if (now && next) change(now, next);
      }
      document.getElementById("updated").replaceChildren(
        ...[...page.getElementById("updated").childNodes].map((node) => document.importNode(node, true)),
      );
      const facts = "header > dl";
      change(document.querySelector(facts), page.querySelector(facts));
      if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
      isLost = false;
      document.body.classList.remove("lost");
      announce(page.getElementById("announce").dataset.text);
    } catch (error) {
      if (running === request) showLost(reasonOf(error));
    } finally {
      clearTimeout(limit);
      if (running === request) {
        running = null;
        plan();
      }
    }
  }

  function plan() {
    clearTimeout(timer);
    if (!isPaused && !document.hidden) timer = setTimeout(refresh, INTERVAL);
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    if (isPaused) {
      clearTimeout(timer);
      // What comes late would change the page all the same.
      running?.abort();
      running = null;
    } else refresh();
  });
  document.addEventListener("visibilitychange", () => (document.hidden || isPaused ? clearTimeout(timer) : refresh()));

  let typing = 0;
  const search = () => {
    const address = new URL(location.href);
    if (filter.value) address.searchParams.set("filter", filter.value);
    else address.searchParams.delete("filter");
    address.hash = "";
    history.replaceState(null, "", address);
    refresh();
  };
  filter.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, 150);
  });
  document.getElementById("search").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    search();
  });
  plan();
})();
