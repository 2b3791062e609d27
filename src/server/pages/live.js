// Shows the page as it is now whenever the agent says that something changed. Without this script the page reloads itself.
"use strict";
(() => {
  const state = document.getElementById("live");
  const say = (text) => { if (state && state.textContent !== text) state.textContent = text; };
  let busy = false;
  let again = false;

  // What a person opened stays open, and the focus stays where it was.
  function swap(fresh) {
    const main = document.querySelector("main");
    const next = fresh.querySelector("main");
    if (!next || next.innerHTML === main.innerHTML) return;
    const open = new Set([...main.querySelectorAll("details[open]")].map((it) => it.id));
    const closed = new Set([...main.querySelectorAll("details:not([open])")].map((it) => it.id));
    const focus = document.activeElement && main.contains(document.activeElement) ? document.activeElement.id : "";
    for (const it of next.querySelectorAll("details")) {
      if (open.has(it.id)) it.open = true;
      if (closed.has(it.id)) it.open = false;
    }
    main.replaceWith(document.adoptNode(next));
    if (focus) document.getElementById(focus)?.focus();
    document.title = fresh.title;
  }

  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href);
      if (answer.ok && !answer.redirected) {
        swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
        say("Live");
      } else {
        say("Not live: the agent refuses the page; reload it");
      }
    } catch {
      say("Not live: the agent does not answer");
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  }

  const events = new EventSource("/api/v1/changes");
  events.addEventListener("changed", refresh);
  events.addEventListener("error", () => say("Not live: connecting again"));
})();
