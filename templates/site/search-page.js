// The page of the search: it loads, shows and listens. What is found is decided in search.js. Texts are put in as text, never as markup.
import {
  FACETS, FORMAT, VALUES_SHOWN, addCatalog, addColumns, answer, parseQuery, pathOf, readNames, readState, specOf, valuesOf, writeState,
} from "./search.js";

const COLUMNS = ["kinds", "versions", "variants"];
const STEP = 50;
const FEW = 6;
const LABELS = { stack: "Stack", target: "Target", os: "Operating system", compiler: "Compiler", version: "Version", variant: "Variant", image: "Image" };

const box = document.getElementById("search");
const input = document.getElementById("query");
const list = document.getElementById("results");
const status = document.getElementById("status");
const more = document.getElementById("more");
const filters = document.getElementById("filters");
const facets = document.getElementById("facets");
const picked = document.getElementById("picked");
const count = new Intl.NumberFormat("en");

let data = null;
let failed = "";
let state = readState(location.search);
let shown = STEP;
let active = -1;
let last = null;
const wide = new Set();
const open = new Set(["stack", "target", "compiler"]);
const details = new Map();
const byHash = new Map();

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const plural = (number, word) => `${count.format(number)} ${word}${number === 1 ? "" : "s"}`;
const page = (path) => `../packages/${encodeURIComponent(path)}/index.html`;

// Showing

function show() {
  const query = parseQuery(state.text);
  if (data) {
    last = query.hash ? null : answer(data, query, state.chosen);
    list.replaceChildren(...(last ? found(last, query) : foundByHash(query.hash)));
    more.hidden = !last || last.packages.length <= shown;
    showFacets(query.hash ? null : last.facets);
  }
  activate(-1);
  input.setAttribute("aria-expanded", String(list.childElementCount > 0));
  status.textContent = said(query);
  showPicked();
}

function said(query) {
  if (failed) return failed;
  if (!data) return "Loading …";
  if (query.hash) return saidOfHash(query.hash);
  if (last.pending) return "Loading builds …";
  const note = query.dependencies ? " Dependencies (^) are not searched." : "";
  if (!last.packages.length) return `Nothing fits.${note}`;
  const packages = plural(last.packages.length, "package");
  return `${last.builds === null ? packages : `${packages}, ${plural(last.builds, "build")}`}${note}`;
}

function found(answered, query) {
  const options = [];
  for (const one of answered.packages.slice(0, shown)) {
    const path = pathOf(data, one.at);
    options.push(option("package", page(path), packageParts(one, query.words)));
    for (const build of one.builds) {
      const made = option("one", page(path), [element("code", {}, specOf(data, build))]);
      const where = () => exact(made, one.at, build);
      made.addEventListener("pointerenter", where);
      made.addEventListener("cache:active", where);
      made.exact = where;
      options.push(made);
    }
    if (one.builds.length && one.count > one.builds.length) {
      options.push(option("one rest", page(path), [`and ${plural(one.count - one.builds.length, "build")} more`]));
    }
  }
  options.forEach((made, at) => { made.id = `option-${at}`; });
  return options;
}

function option(kind, href, parts) {
  return element("a", { class: `option ${kind}`, href, role: "option", tabindex: "-1", "aria-selected": "false" }, ...parts);
}

function packageParts({ at, count: builds }, words) {
  const catalog = data.catalog;
  const top = element("span", { class: "top" }, element("strong", {}, ...marked(data.names[at], words)));
  if (!catalog) return [top];
  const all = catalog.counts[at];
  const number = builds === null || builds === all ? plural(all, "build") : `${count.format(builds)} of ${plural(all, "build")}`;
  top.append(element("span", { class: "muted" }, `${catalog.latest[at]} · ${number}`));
  const text = catalog.descriptions[at];
  return [top, element("span", { class: "about" }, text.length >= 120 ? `${text}…` : text)];
}

function marked(name, words) {
  const low = name.toLowerCase();
  const [word] = words.filter((one) => low.includes(one)).sort((one, other) => other.length - one.length);
  if (!word) return [name];
  const at = low.indexOf(word);
  return [name.slice(0, at), element("mark", {}, name.slice(at, at + word.length)), name.slice(at + word.length)];
}

function showFacets(counted) {
  filters.hidden = !counted;
  if (!counted) return;
  const focused = facets.contains(document.activeElement) ? document.activeElement.id : "";
  facets.replaceChildren(...FACETS.flatMap((key) => facet(key, counted[key])));
  if (focused) document.getElementById(focused)?.focus();
}

function facet(key, { total, values }) {
  const wanted = state.chosen[key];
  // What leaves no choice is no facet.
  if (!wanted.length && data.columns[key].values.length < 2) return [];
  const most = wide.has(key) ? VALUES_SHOWN : FEW;
  const lines = values.filter(({ value }, at) => at < most || wanted.includes(value)).map(({ value, count: number }) => {
    const tick = element("input", { type: "checkbox", id: `facet-${key}-${data.columns[key].values.indexOf(value)}` });
    tick.checked = wanted.includes(value);
    tick.addEventListener("change", () => choose(key, value, tick.checked));
    return element("label", {}, tick, element("span", { class: "value", title: value }, value), element("span", { class: "muted" }, count.format(number)));
  });
  if (!lines.length) return [];
  const made = element("details", { class: "facet", open: open.has(key) || wanted.length > 0 }, element("summary", { id: `facet-${key}` }, LABELS[key]), ...lines);
  made.addEventListener("toggle", () => (made.open ? open.add(key) : open.delete(key)));
  if (total > FEW) {
    const button = element("button", { type: "button", id: `facet-${key}-more`, "aria-expanded": String(wide.has(key)) });
    button.textContent = wide.has(key) ? "Fewer" : `${count.format(Math.min(total, VALUES_SHOWN) - FEW)} more`;
    button.addEventListener("click", () => {
      if (!wide.delete(key)) wide.add(key);
      show();
    });
    made.append(button);
  }
  return [made];
}

function showPicked() {
  const chips = FACETS.flatMap((key) => state.chosen[key].map((value) => {
    const chip = element("button", { type: "button", "aria-label": `Remove ${LABELS[key]} ${value}` }, `${value} `, element("span", { "aria-hidden": "true" }, "×"));
    chip.addEventListener("click", () => {
      choose(key, value, false);
      input.focus();
    });
    return chip;
  }));
  picked.replaceChildren(...chips);
  document.getElementById("picked-count").textContent = chips.length ? ` (${chips.length})` : "";
}

// State

function remember(push = false) {
  const url = `${location.pathname}${writeState(state.text, state.chosen)}`;
  // Browsers refuse when there are very many in a short time; the next one carries all of it.
  try { history[push ? "pushState" : "replaceState"](null, "", url); } catch { /* as above */ }
}

function choose(key, value, on) {
  const others = state.chosen[key].filter((one) => one !== value);
  state.chosen = { ...state.chosen, [key]: on ? [...others, value] : others };
  shown = STEP;
  remember(true);
  show();
}

function ask(text) {
  state.text = text;
  shown = STEP;
  remember();
  show();
}

function restore() {
  state = readState(location.search);
  input.value = state.text;
  shown = STEP;
  show();
}

// Which build is where: the package's document of the API has the hashes, in the order of the columns.

async function packageDocument(path) {
  if (!details.has(path)) details.set(path, (await fetch(`../api/v1/packages/${encodeURIComponent(path)}.json`)).json());
  return details.get(path);
}

async function hashOf(at, build) {
  const whole = await packageDocument(pathOf(data, at));
  let place = build - data.catalog.starts[at];
  let builds = whole.builds;
  for (const part of whole.more) {
    if (place < builds.length) break;
    place -= builds.length;
    builds = (await (await fetch(`../api/v1/${part.path}`)).json()).builds;
  }
  const one = builds[place];
  const same = one && ["version", "target", "os"].every((key) => valuesOf(data.columns[key], build)[0] === one[key]);
  // A newer document than the columns may have another build there: then the page of the package is what is meant.
  return same ? one.hash : "";
}

async function exact(made, at, build) {
  if (made.dataset.hash) return;
  try {
    const hash = await hashOf(at, build);
    if (!hash) return;
    made.dataset.hash = hash;
    made.href = `${page(pathOf(data, at))}#${hash}`;
  } catch { /* the link leads to the package */ }
}

async function follow(made) {
  if (made.exact) await Promise.race([made.exact(), new Promise((done) => { setTimeout(done, 2000); })]);
  location.assign(made.href);
}

async function lookUp(prefix) {
  try {
    const answered = await fetch(`../api/v1/specs/${prefix}.json`);
    byHash.set(prefix, answered.ok ? (await answered.json()).specs : {});
  } catch {
    byHash.set(prefix, {});
  }
  show();
}

function hits(hash) {
  const prefix = hash.slice(0, 2);
  if (hash.length < 2) return null;
  if (!byHash.has(prefix)) {
    byHash.set(prefix, null);
    lookUp(prefix);
  }
  const specs = byHash.get(prefix);
  return specs && Object.entries(specs).filter(([h, spec]) => h.startsWith(hash) && spec.builds.length);
}

function foundByHash(hash) {
  return (hits(hash) ?? []).slice(0, STEP).flatMap(([h, { node }], at) => {
    const place = data.names.indexOf(node.name);
    if (place < 0) return [];
    const made = option("package", `${page(pathOf(data, place))}#${h}`, [element("span", { class: "top" }, element("strong", {}, `${node.name}@${node.version}`), element("code", {}, `/${h}`))]);
    made.id = `option-${at}`;
    return [made];
  });
}

function saidOfHash(hash) {
  if (hash.length < 2) return "Two characters of a hash at least.";
  const specs = hits(hash);
  return specs ? plural(specs.length, "build") : "Loading …";
}

// Keys

function activate(at) {
  list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
  active = at;
  const made = list.children[at];
  if (!made) {
    input.removeAttribute("aria-activedescendant");
    return;
  }
  made.setAttribute("aria-selected", "true");
  input.setAttribute("aria-activedescendant", made.id);
  made.scrollIntoView({ block: "nearest" });
  made.dispatchEvent(new Event("cache:active"));
}

input.addEventListener("keydown", (event) => {
  const end = list.childElementCount;
  if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowDown" && end) activate((active + 1) % end);
  else if (event.key === "ArrowUp" && end) activate(active <= 0 ? end - 1 : active - 1);
  else if (event.key === "Enter" && end) follow(list.children[Math.max(active, 0)]);
  else if (event.key === "Escape") {
    input.value = "";
    ask("");
  } else return;
  event.preventDefault();
});
input.addEventListener("input", () => ask(input.value));
list.addEventListener("click", (event) => {
  const made = event.target.closest("a");
  if (!made?.exact || made.dataset.hash || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  follow(made);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && box.contains(event.target) && event.target !== input) input.focus();
});
more.addEventListener("click", () => {
  const first = list.childElementCount;
  shown += STEP;
  show();
  input.focus({ preventScroll: true });
  activate(first);
});
window.addEventListener("popstate", restore);

// Loading: names answer the first keys, then come descriptions, then the builds.

async function body(index, key) {
  const { path, integrity } = index.files[key];
  const answered = await fetch(path, { integrity });
  if (!answered.ok) throw new Error(`${path}: ${answered.status}`);
  return answered.json();
}

async function load() {
  const answered = await fetch("index.json", { cache: "no-cache" });
  if (!answered.ok) throw new Error(`index.json: ${answered.status}`);
  const index = await answered.json();
  if (index.meta.format !== FORMAT) throw new Error(`format ${index.meta.format}`);
  data = readNames(await body(index, "names"));
  show();
  const rest = Promise.all(COLUMNS.map(async (key) => [key, await body(index, key)]));
  // It is awaited below; until then a failure of it is not one that nobody hears of.
  rest.catch(() => {});
  addCatalog(data, await body(index, "catalog"));
  show();
  addColumns(data, Object.fromEntries(await rest));
  show();
}

async function start() {
  box.hidden = false;
  filters.open = matchMedia("(min-width: 52rem)").matches;
  input.value = state.text;
  input.focus({ preventScroll: true });
  show();
  try {
    await load();
  } catch {
    failed = "The search can't be loaded, or the site is just being renewed: try again in some minutes. The list of packages needs no search.";
    show();
  }
}

start();
