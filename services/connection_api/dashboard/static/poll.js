// Keeps what `data-poll` names current: its markup is had anew every `data-seconds` while somebody looks, and merged
// in place. The answer 286 says that nothing will change any more; so does a whole page whose part of that name
// polls no more.
(() => {
  const OVER = 286;
  const feed = document.getElementById("feed");

  const show = (state, text) => {
    if (!feed || (feed.dataset.state === state && feed.querySelector(".feed-text").textContent === text)) return;
    feed.dataset.state = state;
    feed.querySelector(".feed-text").textContent = text;
  };

  // Returns whether to ask again.
  const refresh = async (part) => {
    let answer;
    let markup;
    try {
      answer = await fetch(part.dataset.poll);
      markup = await answer.text();
    } catch {
      show("trouble", "Reconnecting");
      return true;
    }
    if (answer.status === 401) {
      show("trouble", "Signed out");
      window.tillstream.signedOut();
    } else if (answer.status === 404) show("trouble", "This is gone");
    else if (!answer.ok) show("trouble", "Waiting for the database");
    else {
      const page = new DOMParser().parseFromString(markup, "text/html").getElementById(part.id);
      window.tillstream.merge(part, page ? page.innerHTML : markup);
      window.htmx.process(part);
      show("live", "Up to date");
      if (page && !page.dataset.poll) return false;
    }
    return answer.status !== OVER && answer.status !== 404 && answer.status !== 401;
  };

  const watch = async (part) => {
    const pause = () => new Promise((wake) => setTimeout(wake, 1000 * part.dataset.seconds));
    do {
      await pause();
      if (document.hidden) await new Promise((wake) => document.addEventListener("visibilitychange", wake, { once: true }));
    } while (await refresh(part));
  };

  document.addEventListener("click", (event) => event.target.closest("[data-print]") && window.print());
  show("live", "Up to date"); // the page itself is new
  for (const part of document.querySelectorAll("[data-poll]")) watch(part);
})();
