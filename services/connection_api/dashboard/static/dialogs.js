// One dialog for every page: a link with `data-dialog` opens its address in it, and forms talk to the server by htmx.
// The server ends a dialog with the event `done`, whose message is said in the toast.
(() => {
  const SAID = 6000; // milliseconds
  const TOGETHER = 2000; // milliseconds
  const dialog = document.getElementById("dialog");
  const toast = document.getElementById("toast");
  let opener = null;
  let silence = 0;

  const say = (message, href) => {
    clearTimeout(silence);
    toast.textContent = message;
    if (href) toast.append(" ", Object.assign(document.createElement("a"), { href, textContent: "Show it" }));
    toast.classList.add("is-shown");
    silence = setTimeout(() => toast.classList.remove("is-shown"), SAID);
  };

  // The page and what was typed in it stay: after signing in in another tab the same press goes through.
  const signedOut = () => {
    const place = dialog.open ? (dialog.querySelector("form") ?? dialog) : document.getElementById("main");
    if (place.querySelector(".signed-out")) return;
    const note = document.createElement("p");
    note.className = "cause block tone-warning signed-out";
    note.setAttribute("role", "alert");
    const link = Object.assign(document.createElement("a"), { href: "/sign-in", target: "_blank", textContent: "Sign in in another tab" });
    note.append("You are signed out. ", link, ", then press again here. What you have typed stays.");
    place.prepend(note);
    note.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful) for (const note of document.querySelectorAll(".signed-out")) note.remove();
  });

  const open = (href, from) => {
    opener = from;
    // On a slow line the dialog is there at once, and says that it waits.
    const wait = Object.assign(document.createElement("p"), { id: "dialog-title", className: "dialog-wait" });
    wait.append(Object.assign(document.createElement("span"), { className: "spinner" }), " One moment…");
    dialog.replaceChildren(wait);
    if (!dialog.open) {
      from?.focus(); // the browser gives the focus back to it, also where a menu's entry has opened the dialog
      dialog.showModal();
    }
    htmx.ajax("GET", href, { target: dialog, swap: "innerHTML" });
  };
  // What is pressed twice within a moment, such as by a double click, is meant once: the server knows it by this key.
  const acted = new Map();
  const keyOf = (action) => {
    const known = acted.get(action);
    const isAgain = known && Date.now() - known.at < TOGETHER;
    const key = isAgain ? known.key : [...crypto.getRandomValues(new Uint32Array(4))].join("-");
    acted.set(action, { key, at: Date.now() });
    return key;
  };
  const act = (action) => htmx.ajax("POST", action, { target: dialog, swap: "none", values: { once: keyOf(action) } });

  document.addEventListener("click", (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest("[data-dialog], [data-close], [data-copy]");
    if (!link || (link.matches("[data-close]") && !dialog.open)) return;
    event.preventDefault();
    if (link.matches("[data-dialog]")) open(link.href, document.getElementById(link.dataset.back) ?? link);
    else if (link.matches("[data-close]")) dialog.close();
    else copy(link.dataset.copy);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-act]")) return;
    event.preventDefault();
    act(event.target.action);
  });

  // Without TLS a browser lends no clipboard, only the old way to it.
  const copy = async (text) => {
    const field = Object.assign(document.createElement("textarea"), { value: text, className: "hidden" });
    try {
      if (navigator.clipboard) await navigator.clipboard.writeText(text);
      else {
        const focused = document.activeElement;
        (dialog.open ? dialog : document.body).append(field);
        field.select();
        document.execCommand("copy");
        field.remove();
        focused?.focus();
      }
      say("Copied");
    } catch {
      say("The browser does not allow copying here.");
    }
  };

  document.addEventListener("htmx:beforeRequest", (event) => {
    for (const problem of event.target.closest?.("form")?.querySelectorAll(".problem") ?? []) problem.replaceChildren();
    for (const field of document.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  });
  // A button that was disabled while the server was asked has lost the focus.
  let pressed = null;
  document.addEventListener("htmx:beforeSend", () => (pressed = document.activeElement));
  document.addEventListener("htmx:afterOnLoad", () => {
    if (dialog.open && document.activeElement === document.body && dialog.contains(pressed)) pressed.focus();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    if (target === dialog) {
      if (!dialog.open) dialog.showModal();
      dialog.scrollTop = 0;
      (dialog.querySelector("[autofocus]") ?? dialog.querySelector(".dialog-head [data-close]"))?.focus();
    }
    if (target.id === "problem") {
      const named = target.closest("form")?.elements[target.querySelector("[data-field]")?.dataset.field];
      // Of boxes that share a name, the focus stays on the one that was changed.
      const field = named instanceof RadioNodeList ? [...named].find((one) => one === document.activeElement) ?? named[0] : named;
      if (field) {
        field.closest("[hidden]")?.removeAttribute("hidden");
        field.setAttribute("aria-invalid", "true");
        field.focus();
      }
      const place = document.getElementById(field?.dataset.problem) ?? target;
      if (place !== target) place.replaceChildren(...target.childNodes);
      place.scrollIntoView({ block: "nearest" });
    }
  });
  const waits = () => dialog.open && dialog.querySelector(".dialog-wait");
  document.addEventListener("htmx:beforeSwap", (event) => {
    // It was closed meanwhile. What a form has made is shown all the same, since a secret is shown only once.
    if (event.detail.target === dialog && !dialog.open && event.detail.requestConfig.verb === "get") event.detail.shouldSwap = false;
  });
  document.addEventListener("htmx:responseError", (event) => {
    if (waits()) dialog.close();
    const answer = event.detail.xhr;
    if (answer.status === 401) return signedOut();
    let problem = {};
    try {
      problem = JSON.parse(answer.responseText);
    } catch {
      // Something between us and the server answered.
    }
    say(problem.detail ?? "Tillstream can't answer right now. Try again in a moment.");
  });
  document.addEventListener("htmx:sendError", () => {
    if (waits()) dialog.close();
    say("Tillstream does not answer. Try again in a moment.");
  });
  document.addEventListener("done", (event) => {
    dialog.close();
    if (event.detail.message) say(event.detail.message, event.detail.href);
  });
  // The event comes with the next frame. By then the browser has given the focus back, unless what had it is gone,
  // and a quick hand may have moved it on: into the menu, or to another dialog.
  dialog.addEventListener("close", () => {
    if (dialog.open) return;
    const after = dialog.querySelector("[data-after]")?.href; // what was made stands on another page
    dialog.replaceChildren();
    if (after) return location.assign(after);
    if (document.activeElement !== document.body) return;
    const back = opener?.isConnected ? opener : document.getElementById(opener?.id);
    back?.focus();
  });

  // The search opens by Ctrl-K everywhere, and by / where nothing is typed; arrows lead through what it has found.
  const search = document.getElementById("search");
  document.addEventListener("keydown", (event) => {
    const isCalled = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k";
    const isTyping = event.target.matches("input, textarea, select, [contenteditable]") || dialog.open;
    // The Accounts page has a field of its own for that key.
    const isMeant = event.key === "/" && !isTyping && !document.querySelector('input[aria-keyshortcuts="/"]');
    if (search && (isCalled || (isMeant && !event.ctrlKey && !event.metaKey && !event.altKey))) {
      event.preventDefault();
      if (!dialog.open) open(search.href, search);
      return;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const field = document.getElementById("search-q");
    if (!step || !field || !(event.target === field || event.target.closest(".found"))) return;
    event.preventDefault();
    const stops = [field, ...document.querySelectorAll(".found a")];
    stops[(stops.indexOf(document.activeElement) + step + stops.length) % stops.length].focus();
  });

  window.tillstream = { ...window.tillstream, open, act, say, signedOut };
})();
