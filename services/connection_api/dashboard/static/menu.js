// The ⋮ menu of a card, as https://www.w3.org/WAI/ARIA/apg/patterns/menu-button/ describes it. There is one, outside the
// cards, so that news about them leave it open; beside it, the keys and the search of the Accounts page.
(() => {
  const TYPED_TOGETHER = 500; // milliseconds
  const STATES = {
    setting_up: "it is being set up", paused: "it is paused", action_required: "it needs you first",
    removing: "it is being removed", active: "it is not paused",
  };
  const template = document.getElementById("menu");
  let menu = null;
  let button = null;
  let typed = "";
  let typedAt = 0;

  const needs = {
    webhooks: (card) => card.liveBy === "webhooks",
    paused: (card) => card.state === "paused",
    "not-paused": (card) => card.state !== "paused",
  };
  const prepare = (item, id, card) => {
    const isMet = needs[item.dataset.needs]?.(card) ?? true;
    if (!isMet && item.dataset.needs.endsWith("paused")) return item.remove();
    if (!isMet || (item.dataset.states && !item.dataset.states.split(" ").includes(card.state))) {
      item.setAttribute("aria-disabled", "true");
      const why = isMet ? STATES[card.state] : "changes are found by polling";
      if (why) item.append(Object.assign(document.createElement("small"), { className: "why", textContent: why }));
    }
    for (const name of ["href", "data-post", "data-copy"]) {
      const value = item.getAttribute(name);
      if (value) item.setAttribute(name, value.replace("{base}", `/connections/${id}`).replace("{id}", id));
    }
    item.dataset.back = button.id;
  };
  const items = () => [...menu.querySelectorAll("[role=menuitem]")];

  const place = () => {
    if (!menu) return;
    if (!button.isConnected) return close();
    const box = button.getBoundingClientRect();
    const below = box.bottom + 4 + menu.offsetHeight <= innerHeight || box.top < menu.offsetHeight + 4;
    menu.style.top = `${scrollY + (below ? box.bottom + 4 : box.top - menu.offsetHeight - 4)}px`;
    menu.style.left = `${scrollX + Math.max(8, box.right - menu.offsetWidth)}px`;
  };
  const open = (from, which = 0) => {
    close();
    typed = "";
    button = from;
    menu = document.createElement("div");
    menu.className = "menu";
    menu.id = "open-menu";
    menu.setAttribute("role", "menu");
    menu.setAttribute("aria-label", button.textContent.trim());
    menu.append(template.content.cloneNode(true));
    const id = button.id.replace(/-menu$/, "");
    items().forEach((item) => prepare(item, id, button.dataset));
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-controls", menu.id);
    document.getElementById("main").append(menu);
    place();
    items().at(which).focus();
  };
  const close = () => {
    if (!menu) return;
    const hadFocus = menu.contains(document.activeElement);
    menu.remove();
    menu = null;
    button.removeAttribute("aria-expanded");
    button.removeAttribute("aria-controls");
    if (hadFocus) button.focus();
  };
  const choose = (item) => {
    const action = item.dataset.post;
    close();
    if (action) window.tillstream.act(action);
  };
  const typeAhead = (letter) => {
    typed = Date.now() - typedAt < TYPED_TOGETHER ? typed + letter : letter;
    typedAt = Date.now();
    const all = items();
    const from = all.indexOf(document.activeElement) + (typed.length === 1 ? 1 : 0);
    const order = [...all.slice(from), ...all.slice(0, from)];
    order.find((item) => item.textContent.trim().toLowerCase().startsWith(typed.toLowerCase()))?.focus();
  };
  const move = (step) => {
    const all = items();
    all.at((all.indexOf(document.activeElement) + step) % all.length).focus();
  };

  const keys = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Home: () => items().at(0).focus(),
    End: () => items().at(-1).focus(),
    Escape: () => close(),
    Enter: () => document.activeElement.click(),
    " ": () => document.activeElement.click(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (menu?.contains(event.target)) {
      if (event.key === "Tab") return close(); // the focus is back on the button, and moves on from there
      if (keys[event.key]) keys[event.key]();
      else if (event.key.length === 1) typeAhead(event.key);
      else return;
      event.preventDefault();
    } else if (event.target.matches?.("[aria-haspopup=menu]") && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      open(event.target, event.key === "ArrowUp" ? -1 : 0);
    } else if (event.key === "/" && !event.target.matches?.("input, textarea, select") && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      document.getElementById("q").select();
    }
  });
  // In the capturing phase, since an entry that can't be used must not reach what opens dialogs.
  document.addEventListener("click", (event) => {
    const from = event.target.closest("[aria-haspopup=menu]");
    const item = menu && event.target.closest("#open-menu [role=menuitem]");
    if (item?.getAttribute("aria-disabled")) {
      event.preventDefault();
      event.stopPropagation();
    } else if (!item && from) {
      if (menu && button === from) close();
      else open(from);
    } else if (!item && menu && !menu.contains(event.target)) {
      close();
    }
  }, true);
  document.addEventListener("click", (event) => {
    const item = menu && event.target.closest("#open-menu [role=menuitem]");
    if (item) choose(item);
  });
  document.addEventListener("pointermove", (event) => {
    const item = menu && event.target.closest?.("#open-menu [role=menuitem]");
    if (item && item !== document.activeElement) item.focus({ preventScroll: true });
  });
  addEventListener("resize", place);
  document.addEventListener("merged", place);

  // A notice is of the visit that it came with: whoever loads or shares the page does not get it again.
  const address = new URL(location.href);
  if (address.searchParams.has("notice")) {
    address.searchParams.delete("notice");
    history.replaceState(history.state, "", address);
  }
})();
