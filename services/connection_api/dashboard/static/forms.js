// What forms do before the server is asked: a key's text is looked at while it is typed, buttons wait until they make
// sense, and a moment is sent in UTC whatever the viewer's zone is. Everything works without it, only later.
(() => {
  const forms = () => document.querySelectorAll("form");
  const setDisabled = (form, name, isDisabled) => {
    for (const button of form.querySelectorAll(`[data-needs-${name}]`)) button.disabled = isDisabled;
  };

  // The rules are those of shared/api_keys.py; the first that matches tells what is wrong.
  const clean = (text) => text.trim().replace(/^["']+|["']+$/g, "").trim();
  const lookAtKey = (field) => {
    const text = clean(field.value);
    const hint = document.getElementById(`${field.id}-hint`);
    hint.dataset.first ??= hint.textContent;
    const fault = JSON.parse(field.dataset.rules).find(([pattern]) => new RegExp(pattern).test(text))?.[1];
    const isBad = Boolean(text && fault);
    hint.textContent = text ? fault ?? field.dataset.fine : hint.dataset.first;
    hint.classList.toggle("tone-bad", isBad);
    hint.classList.toggle("tone-good", Boolean(text) && !fault);
    field.toggleAttribute("aria-invalid", false);
    if (isBad) field.setAttribute("aria-invalid", "true");
    for (const button of field.form.querySelectorAll("[data-check]")) button.disabled = Boolean(fault);
    setDisabled(field.form, "pass", !text || Boolean(fault)); // what the button does begins with a check
  };
  const forgetCheck = (form) => {
    form.querySelector("#key-report")?.replaceChildren();
    form.querySelector("#problem")?.replaceChildren();
  };
  // As services/connection_api/life/confirmation.py does: a name counts as it is seen.
  const asSeen = (text) => text.normalize("NFC").replace(/\p{Cf}/gu, "").trim().replace(/\s+/gu, " ");
  const compare = (field) => {
    const isMeant = JSON.parse(field.dataset.match).some((name) => asSeen(name) === asSeen(field.value));
    setDisabled(field.form, "match", !isMeant);
  };

  // A password is not left to be read in the address: it moves to its own field once the address was pasted or left.
  // While somebody still types, an @ may be of the password.
  const ADDRESS = /^(\s*postgres(?:ql)?:\/\/[^:@/?#]*):([^]*)@([^@]*)$/i;
  const movePassword = (field) => {
    const [, start, password, place] = field.value.match(ADDRESS) ?? [];
    if (!password) return;
    let plain = password;
    try {
      plain = decodeURIComponent(password);
    } catch { /* a % that encodes nothing */ }
    document.getElementById(field.dataset.address).value = plain;
    field.value = `${start}@${place}`;
  };

  const zone = window.tillstream.zone;
  const clock = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric",
    second: "numeric",
  });
  // How far the clocks of the zone are ahead of UTC at a moment, in milliseconds.
  const ahead = (at) => {
    const shown = Object.fromEntries(clock.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
    const wall = Date.UTC(shown.year, shown.month - 1, shown.day, shown.hour, shown.minute, shown.second);
    return wall - Math.floor(at / 1000) * 1000;
  };
  const takeMoment = (field) => {
    const radio = field.form.querySelector("[data-custom]");
    radio.checked = true;
    const wall = Date.parse(`${field.value}Z`);
    // Around a change of the clock the difference is that of the moment itself.
    const at = Number.isNaN(wall) ? NaN : wall - ahead(wall - ahead(wall));
    radio.value = Number.isNaN(at) ? "custom" : new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
  };
  // The server writes the field's time in UTC, which it is without scripts; here it is shown in the viewer's zone.
  const localise = (form) => {
    const field = form.querySelector("#custom");
    if (!field || field.dataset.zoned) return;
    field.dataset.zoned = "yes";
    form.querySelector("[data-zone]").textContent = `(${zone})`;
    const local = (text) => {
      const at = Date.parse(`${text}Z`);
      return new Date(at + ahead(at)).toISOString().slice(0, 19);
    };
    field.max = local(field.max);
    if (!field.value) return;
    field.value = local(field.value.length === 16 ? `${field.value}:00` : field.value);
    takeMoment(field);
  };

  // Fields to leave out: only those of what is synced are offered, and each resource says how many it has.
  const countFields = () => {
    for (const tree of document.querySelectorAll("[data-fields-of]")) {
      const count = tree.querySelectorAll(":checked").length;
      tree.querySelector("[data-left-out]").textContent = count ? `${count} left out` : "";
      const isSynced = tree.closest("form").querySelector(`[name=resources][value="${tree.dataset.fieldsOf}"]`).checked;
      tree.hidden = !isSynced && !count && !tree.open;
    }
  };
  const searchFields = (field) => {
    const text = field.value.trim().toLowerCase().replace(/-/g, "").replace(/\s+/g, "_");
    const tree = field.closest(".field-tree");
    // From the innermost outwards: what has a match inside is shown and opened.
    for (const line of [...tree.querySelectorAll("li")].reverse()) {
      const hasMatch = Boolean(line.querySelector("li:not([hidden])"));
      line.hidden = !hasMatch && !line.dataset.path.includes(text);
      const inside = line.querySelector("details");
      if (inside) inside.open = text ? hasMatch : Boolean(inside.querySelector(":checked"));
    }
    const isFound = tree.querySelector("li:not([hidden])");
    tree.querySelector("[data-none-found]").textContent = isFound ? "" : "No field is called like this.";
  };

  const prepare = () => {
    for (const form of forms()) {
      if (form.dataset.prepared) continue;
      form.dataset.prepared = "yes";
      const key = form.querySelector("[data-rules]");
      if (key) {
        for (const button of form.querySelectorAll("[data-check]")) button.disabled = true;
        setDisabled(form, "pass", !key.value);
      }
      const name = form.querySelector("[data-match]");
      if (name) compare(name);
      localise(form);
    }
    countFields();
    window.tillstream.refreshTimes?.();
    // A viewer whose zone is UTC needs no second time.
    for (const utc of document.querySelectorAll("[data-utc]")) {
      utc.hidden = `(${utc.previousElementSibling.textContent})` === utc.textContent;
    }
  };

  document.addEventListener("input", ({ target, inputType }) => {
    if (target.matches("[data-rules]")) {
      forgetCheck(target.form);
      lookAtKey(target);
    } else if (target.matches("[data-address]")) {
      if (inputType === "insertFromPaste") movePassword(target);
    } else if (target.matches("[data-match]")) compare(target);
    else if (target.matches("[data-search-fields]")) searchFields(target);
    else if (target.id === "custom") takeMoment(target);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("[data-search-fields]")) event.preventDefault(); // it is no answer
  });
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-address]")) movePassword(target);
    if (target.matches("[name=omit], [name=resources]")) countFields();
    if (target.matches("[data-custom]")) document.getElementById("custom").focus();
  });
  // As long as no moment is given there is nothing to ask.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.target.id !== "estimate" || event.detail.parameters.get("start") !== "custom") return;
    event.preventDefault();
    event.target.replaceChildren();
  });
  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    prepare();
    const passed = detail.target.id === "key-report" && detail.target.querySelector("[data-passed]");
    if (passed) setDisabled(detail.target.closest("form"), "pass", passed.dataset.passed !== "yes");
  });
  prepare();
})();
