// The page of a build: all of it out of the API, by the DAG hash behind `#`.
"use strict";

import { byTemplate, closure, each, edges, isRuntime, layers, NODES, sharded, spec, wanted } from "./api.js";
import { graph } from "./drawing.js";
import { buildPage, bytes, code, commands, facts, make, needs, outward, packagePage, plain, provenance, tags, target, variantLine, variantWords } from "./parts.js";

// Dependents that are named at once; more layers than this are unfolded on request, as each may take a file.
const FEW = 24, FEW_LAYERS = 16;
const title = document.getElementById("title");
const status = document.getElementById("status");
const crumbs = document.getElementById("crumbs");
const page = document.getElementById("build");
const site = document.title.split(" · ").at(-1);
let turn = 0;
document.getElementById("without").remove();

async function show() {
  const mine = ++turn, hash = wanted(location);
  const here = () => mine === turn;
  page.replaceChildren();
  crumbs.replaceChildren(...[...crumbs.children].slice(0, 1));
  if (!hash) {
    title.textContent = "Build";
    status.textContent = "No build is named: its DAG hash, of 32 small letters and digits, belongs behind # in the address.";
    return;
  }
  status.textContent = "Reading the API …";
  let found;
  try {
    found = await spec(hash);
  } catch (error) {
    status.textContent = `The API can't be read: ${error.message}`;
    return;
  }
  if (!here()) return;
  if (!found || !found.node) {
    title.textContent = "No such build";
    status.textContent = `This cache tells of nothing with the hash ${hash}. It may have been pruned.`;
    return;
  }
  const { node } = found;
  title.textContent = `${node.name}@${node.version}`;
  document.title = `${node.name}@${node.version} · ${site}`;
  if (found.package) crumbs.append(" / ", make("a", { href: packagePage(found.package) }, node.name), ` / ${hash.slice(0, 7)}`);
  status.textContent = found.builds.length ? "" : notPublished(node);
  await parts(found, here);
}

function notPublished(node) {
  if (node.external) return `Not in the cache: an external, taken from the machine at ${plain(node.external.path ?? "a place of its own")}.`;
  return "Not published: another build was made with it, or stands on it.";
}

async function parts(found, here) {
  const { node, hash } = found;
  const words = variantWords(variantLine(node.parameters));
  const first = found.builds.at(-1);
  page.append(tags([target(node), node.arch?.platform_os, ...(first?.compilers ?? []), first?.libc]));
  if (words.length) page.append(make("p", {}, words.join(", ")));
  for (const build of [...found.builds].reverse()) page.append(image(build, hash, node));
  const drawing = make("section", { "aria-labelledby": "graph" }, make("h2", { id: "graph" }, "Dependencies"),
    facts([["Needs to run", needs(node, true)], ["Took to build", needs(node, false)]]), make("p", { class: "muted", role: "status" }, "Reading the graph …"));
  page.append(drawing);
  const users = make("section", { "aria-labelledby": "users" });
  const stack = first ? make("section", { "aria-labelledby": "layers" }) : "";
  page.append(stack, users);
  dependents(users, hash, here);
  const told = drawing.lastChild;
  const nodes = await closure(found, (count) => { told.textContent = `Reading the graph: ${count} nodes …`; });
  if (!here()) return;
  told.remove();
  drawing.append(...chooser(nodes, hash));
  if (first) stacked(stack, nodes, hash, first, here);
}

function image(build, hash, node) {
  return make("section", { class: "build" },
    make("h2", {}, `In image ${build.image}`),
    ...commands(hash, node.name, build),
    make("h3", {}, "Why this build"),
    facts([
      ...provenance(build),
      ["Variants", make("code", {}, variantLine(node.parameters))],
      ["DAG hash", make("code", {}, hash)],
      ["Reference", make("code", {}, build.reference)],
      ["Digest", make("code", {}, build.digest)],
      ["Size", `${bytes(build.size)}, ${bytes(build.imageSize)} with its dependencies`],
      ["Missing", build.missing.map((one, at) => [at ? ", " : "", make("a", { href: buildPage(one) }, `/${one.slice(0, 7)}`)]).flat()],
      ["Spec file", build.specFile && make("a", { href: new URL(`../api/v1/${build.specFile.path}`, import.meta.url).href }, "JSON of the whole DAG")],
    ]),
    make("details", {}, make("summary", {}, "Logs"),
      make("p", {}, "Spack keeps the log of a build with what it built. In a checkout of this cache's repository this prints it, out of the registry:"),
      code(`invoke log /${hash}`, "Command that prints the log"),
      make("p", {}, "An installed package has it, too:"),
      code(`zcat "$(spack location -i /${hash})/.spack/spack-build-out.txt.gz"`, "Command that shows the log"),
      build.run ? make("p", {}, "What the machine said around it is in ", outward(build.run, "the log of the run"), ", as long as that is kept.") : ""));
}

// The graph of what it takes to run; with what only building took, on request.
function chooser(nodes, root) {
  const place = make("div", {});
  const paint = (all) => place.replaceChildren(...drawn(nodes, root, all));
  const box = make("input", { type: "checkbox", id: "all", onchange: () => paint(box.checked) });
  const part = reached(nodes, root, false).length, whole = reached(nodes, root, true).length;
  paint(false);
  const note = whole >= NODES ? ` The first ${NODES} nodes are shown.` : "";
  return [make("p", {}, make("label", { for: "all" }, box, ` With what only building took: ${whole} nodes instead of ${part}.${note}`)), place];
}

function reached(nodes, root, all) {
  const seen = new Set([root]);
  for (const hash of seen) {
    for (const edge of edges(nodes.get(hash))) if ((all || isRuntime(edge)) && nodes.has(edge.hash)) seen.add(edge.hash);
  }
  return [...seen];
}

function drawn(nodes, root, all) {
  const hashes = reached(nodes, root, all), links = [];
  for (const hash of hashes) for (const edge of edges(nodes.get(hash))) if (all || isRuntime(edge)) links.push([hash, edge.hash]);
  return graph(hashes.map((hash) => {
    const node = nodes.get(hash), label = `${node.name}@${node.version}`;
    const kind = hash === root ? "root" : node.external ? "external" : "plain";
    return { id: hash, label, title: `${label} /${hash.slice(0, 7)}${node.external ? ", an external" : ""}`, kind, href: `#${hash}` };
  }), links);
}

// The layers of the image: one per package, dependencies first. Their sizes are asked for when somebody looks.
function stacked(place, nodes, root, build, here) {
  const found = layers(nodes, root);
  const rows = new Map(found.map((node) => [node.hash, [make("td", { class: "number" }, "…"), make("td", { class: "share" })]]));
  const table = make("table", {},
    make("thead", {}, make("tr", {}, ["Layer", "Size", "Against the largest"].map((name) => make("th", { scope: "col", class: name === "Size" ? "number" : null }, name)))),
    make("tbody", {}, [...found].reverse().map((node) => make("tr", {},
      make("th", { scope: "row" }, make("a", { href: buildPage(node.hash) }, `${node.name}@${node.version}`)), ...rows.get(node.hash)))));
  const details = make("details", {}, make("summary", {}, `${found.length} layers, ${bytes(build.imageSize)}`),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Layers" }, table));
  details.addEventListener("toggle", async () => {
    const sizes = new Map();
    await each(rows.keys(), spec, (hash, one) => {
      const size = one?.builds.find((other) => other.image === build.image)?.size;
      sizes.set(hash, size);
      rows.get(hash)[0].textContent = size === undefined ? "not published" : bytes(size);
    });
    if (!here()) return;
    const most = Math.max(1, ...[...sizes.values()].filter(Boolean));
    for (const [hash, size] of sizes) if (size) rows.get(hash)[1].replaceChildren(make("meter", { min: 0, max: most, value: size, "aria-label": bytes(size) }));
  }, { once: true });
  place.append(make("h2", { id: "layers" }, "Layers"), details);
  details.open = found.length <= FEW_LAYERS;
}

// Who builds on it: hashes come at once, names by and by.
async function dependents(place, hash, here) {
  const line = (await sharded("dependent-shard", "dependents", hash).catch(() => null))?.found;
  if (!here()) return;
  place.append(make("h2", { id: "users" }, "Dependents"));
  if (!line || !line.count) {
    place.append(make("p", {}, "Nothing that is published directly depends on it."));
    return;
  }
  const list = make("ul", { class: "names" });
  const waiting = [...line.dependents], parts = Object.keys(line.parts);
  const more = make("button", { type: "button", onclick: () => next() });
  const next = async () => {
    more.disabled = true;
    while (waiting.length < FEW && parts.length) {
      waiting.push(...(await byTemplate("dependent-part", { hash, dependent: parts.shift() }).catch(() => ({ dependents: [] }))).dependents);
    }
    const some = waiting.splice(0, FEW).map((one) => [one, make("a", { href: buildPage(one) }, `/${one.slice(0, 7)}`)]);
    list.append(...some.map(([, link]) => make("li", {}, link)));
    await each(some, ([one]) => spec(one), ([, link], found) => {
      if (found?.node) link.prepend(make("span", {}, `${found.node.name}@${found.node.version} `));
    });
    more.disabled = false;
    more.hidden = !waiting.length && !parts.length;
    more.textContent = "More";
  };
  place.append(make("p", {}, line.count === 1 ? "One build directly depends on it." : `${line.count} builds directly depend on it.`), list, make("p", {}, more));
  more.textContent = "More";
  more.hidden = true;
  await next();
}

window.addEventListener("hashchange", async () => {
  // The link that skips to the content changes the address too, and names no build.
  if (document.getElementById(location.hash.slice(1))) return;
  window.scrollTo(0, 0);
  title.focus({ preventScroll: true });
  await show();
});
show();
