// Keeps the Accounts page current: its parts arrive by server-sent events and are merged into the page in place,
// so that focus, selection and what a person has opened stay as they are.
(() => {
  let events = null;
  const feed = document.getElementById("feed");
  const feedText = feed.querySelector(".feed-text");

  const showFeed = (state, text) => {
    if (feed.dataset.state === state && feedText.textContent === text) return;
    feed.dataset.state = state;
    feedText.textContent = text;
  };

  const end = (current) => {
    current.close();
    showFeed("trouble", "Signed out");
    window.tillstream.signedOut();
  };
  // A stream that is refused does not tell its status.
  const askAgain = async (current) => {
    const answer = await fetch("/v1/sessions?limit=1").catch(() => null);
    if (answer?.status === 401) end(current);
    else setTimeout(listen, 3000);
  };

  const listen = () => {
    events?.close();
    const current = new EventSource(document.getElementById("cards").dataset.events);
    events = current;
    current.addEventListener("open", () => showFeed("live", "Up to date"));
    for (const part of ["state", "cards", "pictures"]) {
      current.addEventListener(part, (event) => {
        if (current !== events) return;
        window.tillstream.merge(document.getElementById(part), event.data);
        document.dispatchEvent(new Event("merged"));
        showFeed("live", "Up to date");
      });
    }
    current.addEventListener("trouble", (event) => {
      showFeed("trouble", "Waiting for the database");
      feed.title = event.data;
    });
    current.addEventListener("ended", () => end(current));
    current.addEventListener("error", () => {
      showFeed("trouble", "Reconnecting");
      // The browser tries again by itself, except after an answer that was no stream.
      if (current === events && current.readyState === EventSource.CLOSED) askAgain(current);
    });
  };

  listen();
  addEventListener("pagehide", () => events.close());
  // Another search has brought other cards, whose news come from another address.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target.id === "accounts") listen();
  });
  addEventListener("pageshow", (event) => event.persisted && listen());
})();
