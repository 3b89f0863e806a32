// The page that tells why Spack builds a spec: what is pasted stays here, and is held against the builds that the API tells of.
"use strict";

import { closure, get, spec } from "./api.js";
import { differences, distance, family } from "./differing.js";
import { buildPage, code, make, plain } from "./parts.js";

// Of the builds of a package so many are compared whole; of a lock file so many roots are looked up; so many differences are told of.
const CLOSE = 6, ROOTS = 400, TOLD = 10, LIMIT = 64e6;
const form = document.getElementById("ask");
const pasted = document.getElementById("pasted");
const status = document.getElementById("status");
const answers = document.getElementById("answers");
const upstreams = document.getElementById("upstreams");
let turn = 0;

form.hidden = false;
document.getElementById("compare").addEventListener("click", () => ask(pasted.value));
document.getElementById("file").addEventListener("change", async ({ target: { files } }) => {
  if (!files.length) return;
  if (files[0].size > LIMIT) return say("That file is too large to be a spec.");
  pasted.value = await files[0].text();
  ask(pasted.value);
});

const say = (text) => { status.textContent = text; };

async function ask(text) {
  const mine = ++turn;
  answers.replaceChildren();
  let asked;
  try {
    asked = read(text);
  } catch (error) {
    say(`That is no concrete spec: ${plain(error.message)}.`);
    return;
  }
  say("Reading the API …");
  try {
    const found = asked.length > 1 ? await list(asked) : await explain(asked[0]);
    if (mine !== turn) return;
    answers.replaceChildren(...found);
    say("");
  } catch (error) {
    if (mine === turn) say(`The API can't be read: ${plain(error.message)}`);
  }
}

// The roots in a spec file, or in a lock file: `{ root, nodes, request }`.
function read(text) {
  const data = JSON.parse(text.slice(Math.max(0, text.indexOf("{"))));
  const given = data.concrete_specs ?? null;
  const nodes = given ? Object.entries(given).map(([hash, node]) => ({ ...node, hash })) : data.spec?.nodes;
  if (!Array.isArray(nodes) || !nodes.length) throw new Error("it has neither spec.nodes nor concrete_specs");
  const held = new Map();
  for (const node of nodes) {
    if (typeof node?.name !== "string" || !/^[a-z2-7]{32}$/.test(node.hash)) throw new Error("one of its nodes has no name, or no hash");
    held.set(node.hash, node);
  }
  if (!given) return [{ root: nodes[0], nodes: held, request: "" }];
  const roots = (Array.isArray(data.roots) ? data.roots : []).filter((root) => held.has(root?.hash));
  if (!roots.length) throw new Error("it has no roots");
  return roots.slice(0, ROOTS).map((root) => ({ root: held.get(root.hash), nodes: held, request: plain(root.spec ?? "") }));
}

// What is to be known of what isn't here: the caches that this one stands on are not looked at. Nothing where there are none.
const elsewhere = () => (upstreams ? [upstreams.content.cloneNode(true)] : []);

const label = (node) => `${plain(node.name)}@${plain(node.version)}`;

// Of a lock file: which of its roots are here; each of the others is explained on request.
async function list(asked) {
  const rows = [];
  let here = 0;
  for (const one of asked) {
    const found = one.root.external ? null : await spec(one.root.hash);
    const present = Boolean(found?.builds.length);
    here += present ? 1 : 0;
    const name = one.request || label(one.root);
    const more = make("div");
    const button = make("button", { type: "button", onclick: async () => { button.remove(); more.replaceChildren(...await explain(one)); } }, "Why not?");
    rows.push(make("li", {}, present ? make("a", { href: buildPage(one.root.hash) }, name) : name, " ",
      one.root.external ? make("span", { class: "muted" }, "taken from your machine") : present ? make("span", { class: "muted" }, "is here") : button, more));
  }
  return [make("h2", {}, `${here} of ${asked.length} are here`), ...(here < asked.length ? elsewhere() : []), make("ul", { class: "asked" }, rows)];
}

async function explain(asked) {
  const { root } = asked, title = make("h2", {}, label(root));
  if (root.external) return [title, make("p", {}, "Spack takes it from your machine: there is nothing to fetch.")];
  const held = await spec(root.hash);
  if (held?.builds.length && held.builds.every((build) => build.missing.length)) {
    return [title, make("p", {}, "It is here: ", make("a", { href: buildPage(root.hash) }, "this very build"), ", but not all that it needs: Spack builds the rest. The page of the build names what is missing.")];
  }
  if (held?.builds.length) {
    return [title, make("p", {}, "It is here: ", make("a", { href: buildPage(root.hash) }, "this very build"),
      ". If Spack builds it all the same, the mirror is missing, or it is not marked as unsigned: "), code("spack buildcache list --allarch --long", "What Spack finds")];
  }
  const lines = await builds(root.name);
  if (!lines.length) return [title, make("p", {}, `No build of ${plain(root.name)} is here.`), ...elsewhere()];
  const near = [];
  for (const line of closest(asked, lines)) {
    const found = await spec(line.hash);
    if (!found?.node) continue;
    const there = { root: found.node, nodes: await closure(found) };
    const told = differences(asked, there);
    near.push({ line, there, told, far: distance(told) });
  }
  // Of builds for several processors the one for the oldest: it runs on most.
  near.sort((a, b) => a.far - b.far || (a.line.target < b.line.target ? -1 : 1));
  const [best] = near;
  if (!best) return [title, make("p", {}, "Its builds can't be read."), ...elsewhere()];
  const of = lines.length === 1 ? "The only build of it here" : `Of ${lines.length} builds the nearest`;
  return [title, make("p", {}, "Not here. ", `${of} is `, make("a", { href: buildPage(best.line.hash) }, `${label(best.there.root)}/${best.line.hash.slice(0, 7)}`), ":"),
    make("ol", { class: "differing" }, best.told.slice(0, TOLD).map((one) => difference(root.name, one))),
    best.told.length > TOLD ? make("p", {}, `And ${best.told.length - TOLD} differences more.`) : "",
    make("p", {}, "That build as it is:"), code(`spack install --use-buildcache only /${best.line.hash}`, "To install that build"), ...elsewhere()].filter(Boolean);
}

async function builds(name) {
  const index = await get("packages.json");
  const list = index.lists.find((part) => part.first <= name && name <= part.last);
  const found = list ? (await get(list.path)).packages.find((one) => one.name === name) : null;
  if (!found) return [];
  const whole = await get(found.path);
  const more = await Promise.all(whole.more.map((part) => get(part.path)));
  return [whole, ...more].flatMap((part) => part.builds);
}

// The builds whose own fields are nearest: to compare whole graphs takes many files.
function closest({ root }, lines) {
  const target = typeof root.arch?.target === "object" ? root.arch?.target?.name : root.arch?.target;
  const flags = Object.entries(root.parameters ?? {}).filter(([, value]) => typeof value === "boolean").map(([name, value]) => `${value ? "+" : "~"}${name}`);
  const far = (line) => 10 * ((line.version !== root.version) + (line.target !== target) + (line.os !== root.arch?.platform_os))
    + flags.filter((flag) => !line.variants.split(" ").includes(flag)).length;
  return [...lines].sort((a, b) => far(a) - far(b)).slice(0, CLOSE);
}

function difference(name, one) {
  const what = one.name ? `${one.field} ${plain(one.name)}` : one.field;
  const where = one.path.length ? ` of ${one.path.map(plain).join(" › ")}` : "";
  const also = one.also ? ` (and of ${one.also} more that it needs)` : "";
  return make("li", {}, make("strong", {}, what), `${where}: you ask for `, make("code", {}, plain(one.asked) || "none"), ", there is ",
    make("code", {}, plain(one.there) || "none"), also, make("small", {}, plain(advice(name, one))));
}

// What to type, or to know: see cachelib/steps/why.py.
const word = (text) => (/^[+~]?[\w@%:,./=+-]*$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

function advice(name, { field, there, asked, path, name: thing }) {
  const what = path.at(-1) ?? name, install = `spack install ${name}${path.length ? ` ^${what}` : ""}`;
  switch (field) {
    case "platform": return `Binaries for ${there} don't run on ${asked}.`;
    case "target": return family(asked) !== family(there) ? "That build is for machines of another kind."
      : `${install} target=${there}, where the processor has it${path.length ? "" : `; for all that it needs, too: packages:all:require: target=${there}`}`;
    case "os": case "libc": return `Spack takes builds of another system only where your libc is as new, and then by reuse: spack install --reuse ${name}`;
    case "compiler": return there ? `${install} %${there.split(" ")[0]}` : "That build took no compiler.";
    case "version": return `${install}@${there}`;
    case "variant": case "flags":
      if (there) return `${install}${/^[+~]/.test(there) && path.length ? "" : " "}${word(there)}`;
      return field === "flags" ? `That build took no ${thing}: leave them out.` : `Recipes there know no ${thing}: they are others than yours.`;
    case "external":
      if (asked && there) return `That build took the ${what} in ${there}, which is not where yours is.`;
      return asked ? `Let Spack build ${what}: no external of it.` : `Make ${what} an external of yours.`;
    case "namespace": return `It comes from another package repository: ${there}`;
    case "dependency": return asked && there ? `spack install ${name} ^${there}` : `That build ${asked ? "does without" : "takes besides"} ${asked || there}: a variant or a version decides on it.`;
    case "recipe": return "Your recipes are of another commit than the cache's: the page of the build says of which.";
    default: return "Nothing that is chosen on a command line.";
  }
}
