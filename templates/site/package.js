// The page of a package: the links of the matrix choose a build, and what of it the page doesn't hold comes from the API.
"use strict";

import { get, spec, wanted } from "./api.js";
import { buildPage, bytes, built, commands, facts, make, needs, provenance, tags, target, variantLine, variantWords } from "./parts.js";

const chosen = document.getElementById("chosen");
const address = document.getElementById("json").getAttribute("href");

// A link chooses its build here; the build's own page is one link further.
function choosing(root) {
  for (const link of root.querySelectorAll("a[href*='build/index.html#']")) link.setAttribute("href", `#${link.hash.slice(1)}`);
}

function mark(hash) {
  for (const link of document.querySelectorAll(".matrix a")) {
    if (link.hash === `#${hash}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

async function choose() {
  const hash = wanted(location);
  if (!hash) return;
  mark(hash);
  const found = await spec(hash).catch(() => null);
  if (wanted(location) !== hash) return;
  const build = found?.builds.at(-1);
  if (!build || !found.node) {
    chosen.replaceChildren(make("h2", {}, "Not here"), make("p", {}, `No build of this cache has the hash ${hash}; it may have been pruned.`));
    return;
  }
  const { node } = found;
  const words = variantWords(variantLine(node.parameters));
  chosen.replaceChildren(
    make("h2", {}, `${node.name}@${node.version} `, make("a", { class: "hash", href: buildPage(hash) }, `/${hash.slice(0, 7)}`)),
    tags([target(node), node.arch?.platform_os, ...build.compilers, build.libc]),
    words.length ? make("p", {}, words.join(", ")) : "",
    ...commands(hash, node.name, build),
    make("h3", {}, "Why this build"),
    facts([
      ["Image", build.image],
      ["Size", `${bytes(build.size)}, ${bytes(build.imageSize)} with its dependencies`],
      ...provenance(build),
      ["Needs", needs(node, true)],
      ["Missing", build.missing.length ? `${build.missing.length} of its dependencies are not published` : ""],
    ]),
    make("p", {}, make("a", { href: buildPage(hash) }, "Graph, layers and dependents of this build")),
  );
}

// All builds, where the page holds the newest only: one table more, of rows in the order of the API.
async function unfold(button) {
  button.disabled = true;
  try {
    const first = await get(new URL(address, location).href);
    const further = await Promise.all(first.more.map((ref) => get(ref.path)));
    const builds = [first, ...further].flatMap((part) => part.builds);
    const rows = builds.map((build) => make("tr", {},
      make("th", { scope: "row" }, build.version),
      make("td", {}, make("a", { href: `#${build.hash}` }, build.compilers.join(", ") || "build"), make("small", {}, `/${build.hash.slice(0, 7)}`)),
      make("td", {}, build.target), make("td", {}, build.os), make("td", {}, built({ ...build, seconds: null }).slice(0, 10)),
      make("td", { class: "number" }, bytes(build.size))));
    const heads = ["Version", "Compiler", "Target", "System", "Built", "Size"].map((name) => make("th", { scope: "col" }, name));
    const table = make("table", { class: "matrix" }, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, rows));
    button.closest("p").replaceWith(make("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "All builds" }, table));
    mark(wanted(location));
  } catch (error) {
    button.disabled = false;
    button.textContent = `It didn't come (${error.message}). Again`;
  }
}

const first = chosen.querySelector("h2 a").hash.slice(1);
choosing(document.getElementById("main").querySelector(".scroll"));
mark(wanted(location) || first);
const more = document.getElementById("more");
if (more) {
  const button = make("button", { type: "button", onclick: () => unfold(button) }, "Show all builds");
  more.replaceChildren(button);
}
window.addEventListener("hashchange", async () => {
  await choose();
  chosen.scrollIntoView({ block: "nearest" });
});
choose();
