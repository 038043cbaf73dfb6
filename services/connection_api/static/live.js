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

  const listen = () => {
    const events = new EventSource(cards.dataset.events);
    events.addEventListener("open", () => showFeed("live", "Up to date"));
    events.addEventListener("cards", (event) => {
      window.tillstream.merge(cards, event.data);
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

  listen();
  addEventListener("pageshow", (event) => event.persisted && listen());
})();
