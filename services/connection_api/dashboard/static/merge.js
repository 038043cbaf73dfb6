// Merges fresh markup into a page in place, so that focus, selection and what a person has opened stay as they are.
window.tillstream = { ...window.tillstream };
(() => {
  const OWN = new Set(["open", "aria-expanded"]); // attributes that belong to the reader
  const mergeAttributes = (old, fresh) => {
    const isTime = old.matches("time[data-relative]"); // whose title static/times.js keeps
    const isKey = old.matches("input[name=once]"); // by which a form acts once
    const isOwn = (name) => OWN.has(name) || (isTime && name === "title") || (isKey && name === "value");
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !isOwn(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (!isOwn(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };
  const isSame = (old, fresh) => old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName
    && (old.id ?? "") === (fresh.id ?? "");
  const keyOf = (node) => node.id || node.firstElementChild?.id;
  const isBlank = (node) => node?.nodeType === Node.TEXT_NODE && !node.nodeValue.trim();

  const mergeChildren = (old, fresh) => {
    const byKey = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
    let at = old.firstChild;
    const drop = () => {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    };
    for (const next of [...fresh.childNodes]) {
      // Blanks between elements come and go with the template: they hide no element from its successor.
      while (isBlank(at) && !isBlank(next)) drop();
      const known = byKey.get(keyOf(next)) ?? (at && !keyOf(at) && isSame(at, next) ? at : null);
      if (!known || !isSame(known, next)) {
        old.insertBefore(next, at);
        continue;
      }
      if (known === at) at = at.nextSibling;
      else old.insertBefore(known, at);
      mergeNode(known, next);
    }
    while (at) drop();
  };
  const mergeNode = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    mergeAttributes(old, fresh);
    if (!old.matches("time[data-relative], time[data-exact]")) mergeChildren(old, fresh);
  };

  window.tillstream.merge = (container, html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    mergeChildren(container, template.content);
    window.tillstream.refreshTimes();
  };
})();
