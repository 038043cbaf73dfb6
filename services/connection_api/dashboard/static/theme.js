// Runs before the page is drawn, so that a chosen theme never flashes; without a choice the system's theme holds.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  const stored = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is forbidden: the system's theme holds
    }
  };
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

  const choice = stored();
  root.classList.add("has-script");
  // What a day is, the server has to know as it is shown here.
  let zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`tillstream_zone=${zone}`)) {
    document.cookie = `tillstream_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
  }
  // The zone that was chosen for all comes first; a browser may not know it.
  try {
    zone = new Intl.DateTimeFormat("en", { timeZone: root.dataset.zone ?? zone }).resolvedOptions().timeZone;
  } catch {
    // Its own zone holds.
  }
  window.tillstream = { zone };
  if (choice === "light" || choice === "dark") root.dataset.theme = choice;

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = document.getElementById("theme-label");
    const show = () => {
      const text = `Switch to the ${isDark() ? "light" : "dark"} theme`;
      label.textContent = text;
      button.title = text;
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try {
        localStorage.setItem("theme", root.dataset.theme);
      } catch {
        // The choice holds until the page is left.
      }
      show();
    });
    system.addEventListener("change", show);
    show();
  });
})();
