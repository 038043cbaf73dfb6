// Keeps the Accounts page current: cards arrive by server-sent events and are merged into the page in place,
// so that focus, selection and what a person has opened stay as they are.
(() => {
  const cards = document.getElementById("cards");
  const feed = document.getElementById("feed");
  const feedText = feed.querySelector(".feed-text");

  const showFeed = (state, text) => {
    if (feed.dataset.state === state) return;
    feed.dataset.state = state;
    feedText.textContent = text;
  };

  // Says the same as relative_time in pages.py.
  const relative = (at) => {
    const seconds = Math.max(0, Math.floor((Date.now() - at) / 1000));
    if (seconds < 2) return "just now";
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    const days = Math.floor(seconds / 86400);
    return days === 1 ? "1 day ago" : `${days} days ago`;
  };
  const refreshTimes = () => {
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const text = relative(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const mergeAttributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };
  const isSame = (old, fresh) => old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName
    && (old.id ?? "") === (fresh.id ?? "");
  const keyOf = (node) => node.id || node.firstElementChild?.id;

  const mergeChildren = (old, fresh) => {
    const byKey = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const known = byKey.get(keyOf(next)) ?? (at && !keyOf(at) && isSame(at, next) ? at : null);
      if (!known || !isSame(known, next)) {
        old.insertBefore(next, at);
        continue;
      }
      if (known === at) at = at.nextSibling;
      else old.insertBefore(known, at);
      merge(known, next);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  };
  const merge = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    mergeAttributes(old, fresh);
    if (!old.matches("time[data-relative]")) mergeChildren(old, fresh);
  };

  const listen = () => {
    const events = new EventSource(cards.dataset.events);
    events.addEventListener("open", () => showFeed("live", "Up to date"));
    events.addEventListener("cards", (event) => {
      const template = document.createElement("template");
      template.innerHTML = event.data;
      mergeChildren(cards, template.content);
      refreshTimes();
      showFeed("live", "Up to date");
    });
    events.addEventListener("trouble", (event) => {
      showFeed("trouble", "Waiting for the database");
      feed.title = event.data;
    });
    events.addEventListener("error", () => {
      showFeed("trouble", "Reconnecting");
      // The browser tries again by itself, except after an answer that was no stream.
      if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    });
    addEventListener("pagehide", () => events.close(), { once: true });
  };

  setInterval(refreshTimes, 1000);
  refreshTimes();
  listen();
  addEventListener("pageshow", (event) => event.persisted && listen());
})();
