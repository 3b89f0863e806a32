"use strict";

// Copy buttons: shown only where there is a clipboard to copy to.
for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

// The filter of the list of packages: the table is complete without it.
const filter = document.getElementById("filter");
if (filter) {
  const rows = [...document.querySelectorAll("#rows tr")].map((row) => [row, row.textContent.toLowerCase()]);
  const count = document.getElementById("count");
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  };
  filter.closest("p").hidden = false;
  filter.addEventListener("input", apply);
}

// The key of the search: into its field where there is one, else to its page.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const field = document.getElementById("query");
  event.preventDefault();
  if (field) field.select();
  else document.querySelector("a.find").click();
});

// A link to one build opens its details.
const open = () => {
  const build = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = build && build.querySelector("details");
  if (details) details.open = true;
};
window.addEventListener("hashchange", open);
open();
