// Keeps times true: what is relative ages with the clock, and exact times are shown in the viewer's own zone.
window.tillstream = { ...window.tillstream };
(() => {
  const zoned = new Intl.DateTimeFormat("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    timeZoneName: "short", timeZone: window.tillstream.zone,
  });

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
  const set = (node, name, text) => {
    if (node[name] !== text) node[name] = text;
  };
  const refresh = () => {
    for (const time of document.querySelectorAll("time[data-relative], time[data-exact]")) {
      const at = Date.parse(time.dateTime);
      if (time.dataset.exact !== undefined) {
        set(time, "textContent", zoned.format(at));
      } else {
        set(time, "textContent", relative(at));
        set(time, "title", zoned.format(at));
      }
    }
  };

  window.tillstream.refreshTimes = refresh;
  document.addEventListener("DOMContentLoaded", refresh);
  setInterval(refresh, 1000);
})();
