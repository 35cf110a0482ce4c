"use strict";
(() => {
  const tools = document.querySelector(".tools");
  const table = document.querySelector("table.steps");
  if (!tools || !table) return;
  tools.hidden = false;
  const bodies = [...table.tBodies];

  tools.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("open" in button.dataset) {
      const open = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(open));
      button.textContent = open ? "Close all output" : "Open all output";
      for (const log of table.querySelectorAll("details.log")) log.open = open;
      return;
    }
    for (const other of tools.querySelectorAll("[data-show]")) other.setAttribute("aria-pressed", String(other === button));
    const wanted = button.dataset.show;
    for (const body of bodies) body.hidden = wanted !== "" && body.dataset.outcome !== wanted;
  });

  // A second click brings the order of the Dockerfile back.
  for (const heading of table.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `sort by ${heading.textContent}`);
    heading.append(button);
    button.addEventListener("click", () => {
      const sorted = heading.getAttribute("aria-sort") !== "descending";
      for (const other of table.querySelectorAll("th[data-sort]")) other.removeAttribute("aria-sort");
      if (sorted) heading.setAttribute("aria-sort", "descending");
      const size = (body) => Number(body.dataset[heading.dataset.sort]);
      const order = sorted ? [...bodies].sort((one, other) => size(other) - size(one)) : bodies;
      table.append(...order);
    });
  }

  // A step that is led to is shown, whatever is filtered.
  const reveal = () => {
    const body = document.getElementById(location.hash.slice(1));
    if (body && body.hidden) tools.querySelector('[data-show=""]').click();
  };
  addEventListener("hashchange", () => {
    reveal();
    document.getElementById(location.hash.slice(1))?.scrollIntoView();
  });
  reveal();
})();
