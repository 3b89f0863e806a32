// What the search decides, apart from the page: it reads columns, understands a query, ranks, and counts. search-page.js shows it.
import { plain, ranges } from "./versions.js";

export const FORMAT = 1;
/** The facets in the order in which they are shown. */
export const FACETS = ["stack", "target", "os", "compiler", "version", "variant", "image"];
/** Of these a build must have every one that is chosen; of the others any. */
const ALL_OF = new Set(["variant"]);
/** So many builds of a package are shown below it. */
export const BUILDS_SHOWN = 3;
/** So many values of a facet are shown at most. */
export const VALUES_SHOWN = 60;
const [EXACT, PREFIX, WORD, INSIDE, DESCRIPTION, NOTHING] = [0, 1, 2, 3, 4, 5];

/** The numbers of a column: a character each (cachelib/steps/search.py, `letter`). */
export function numbers(text) {
  const found = new Uint32Array(text.length);
  let count = 0;
  for (const character of text) {
    let point = character.codePointAt(0);
    if (point >= 0xe000) point -= 0x800;
    if (point > 0x5c) point -= 1;
    found[count++] = point - 0x23;
  }
  return found.subarray(0, count);
}

/** The numbers of sets: each was written as how long ago its set came first, as nothing where that is new. */
export function recent(text) {
  const found = numbers(text);
  let known = 0;
  for (let at = 0; at < found.length; at++) {
    const ago = found[at];
    found[at] = known - ago;
    if (!ago) known++;
  }
  return found;
}

/** A column: what values there are, which of them come together (where none do, each is a set), and each build's number of a set. */
export function readColumn(raw, builds = recent(raw.builds)) {
  return { values: raw.values, sets: raw.sets ? raw.sets.map(numbers) : raw.values.map((_, at) => [at]), builds, plain: !raw.sets };
}

/** What is looked through: names at first; `addCatalog` and `addColumns` bring the rest. */
export function readNames(raw) {
  return { names: raw.names, lower: raw.names.map((name) => name.toLowerCase()), paths: raw.paths, catalog: null, columns: null };
}

export function addCatalog(data, raw) {
  const starts = new Uint32Array(raw.counts.length + 1);
  raw.counts.forEach((count, at) => { starts[at + 1] = starts[at] + count; });
  data.catalog = { ...raw, lower: raw.descriptions.map((text) => text.toLowerCase()), starts };
}

export function addColumns(data, { kinds, versions, variants }) {
  const builds = recent(kinds.builds);
  const found = Object.entries(kinds.columns).map(([key, raw]) => [key, readColumn(raw, builds)]);
  data.columns = { ...Object.fromEntries(found), version: readColumn(versions), variant: readColumn(variants) };
}

/** The page of a package, below packages/. */
export function pathOf(data, at) {
  return data.paths[at] ?? data.names[at];
}

const KEYS = new Set(["target", "os", "stack", "image"]);
const PART = /@([^\s@%+~^/]*)|%([A-Za-z0-9_][\w.-]*)?(?:@([^\s@%+~^/]*))?|([+~])([A-Za-z0-9_][\w-]*)|\/([a-z2-7]*)/y;

/** A query in Spack's syntax where it looks like it; all else are words that a name or a description has. */
export function parseQuery(text) {
  const query = { words: [], versions: [], compilers: [], values: [], variants: [], hash: "", dependencies: false };
  for (const chunk of text.trim().split(/\s+/).filter(Boolean)) {
    if (chunk.includes("^")) query.dependencies = true;
    const [own] = chunk.split("^");
    if (own) readChunk(query, own);
    // What follows a dependency tells of the dependency.
    if (query.dependencies) break;
  }
  return query;
}

function readChunk(query, chunk) {
  const pair = /^([A-Za-z_][\w-]*)==?(.*)$/.exec(chunk);
  if (pair) return readPair(query, pair[1].toLowerCase(), pair[2], pair[1]);
  // A sign that nothing follows yet is one that is being typed; `c++` is a word.
  const typed = chunk.replace(/^-(?=[A-Za-z])/, "~").replace(/(?<=[\w.-])[+~@%/]$/, "");
  const name = /^[\w.-]*/.exec(typed)[0];
  const found = { versions: [], compilers: [], variants: [], hash: "" };
  PART.lastIndex = name.length;
  while (PART.lastIndex < typed.length) {
    const part = PART.exec(typed);
    if (!part) {
      if (chunk.length > 1) query.words.push(chunk.toLowerCase());
      return;
    }
    if (part[1] !== undefined) found.versions.push(part[1]);
    else if (part[4]) found.variants.push(part[4] + part[5]);
    else if (part[6] !== undefined) found.hash = part[6];
    else if (part[2]) found.compilers.push({ name: part[2].toLowerCase(), version: part[3] ?? "" });
  }
  if (/^\d+(\.\w+)+$/.test(name)) query.versions.push(name);
  else if (name) query.words.push(name.toLowerCase());
  query.versions.push(...found.versions.filter(Boolean));
  query.compilers.push(...found.compilers);
  query.variants.push(...found.variants);
  query.hash = found.hash || query.hash;
}

function readPair(query, key, value, written) {
  if (!value) return;
  if (KEYS.has(key)) query.values.push([key, value]);
  else if (key === "compiler") {
    const [name, version] = value.split("@", 2);
    query.compilers.push({ name: name.toLowerCase(), version: version ?? "" });
  } else if (key === "arch") {
    const [, os, target] = value.split("-");
    if (os) query.values.push(["os", os]);
    if (target) query.values.push(["target", target]);
  } else query.variants.push(`${written}=${value}`);
}

/** Whether a query tells of builds, and not of packages alone. */
export function asksBuilds(query) {
  return [query.versions, query.compilers, query.values, query.variants].some((list) => list.length > 0);
}

/** How well a name fits words: the whole name, its beginning, the beginning of a word in it, something in it; then the description. */
export function rank(name, description, words) {
  if (!words.length) return PREFIX;
  const joined = words.join("-");
  if (name === joined) return EXACT;
  if (name.startsWith(joined)) return PREFIX;
  let worst = EXACT;
  for (const word of words) {
    let found = name.startsWith(word) ? PREFIX : NOTHING;
    if (found === NOTHING && name.includes(word)) {
      found = ["-", "_", "."].some((before) => name.includes(before + word)) ? WORD : INSIDE;
    }
    if (found === NOTHING && description.includes(word)) found = DESCRIPTION;
    worst = Math.max(worst, found);
  }
  return worst;
}

/** The packages that fit words, the best first; of equals the shorter name. */
export function findPackages(data, words) {
  const groups = [[], [], [], [], []];
  for (let at = 0; at < data.lower.length; at++) {
    const found = rank(data.lower[at], data.catalog ? data.catalog.lower[at] : "", words);
    if (found < NOTHING) groups[found].push(at);
  }
  if (words.length) for (const group of groups) group.sort((one, other) => data.names[one].length - data.names[other].length || one - other);
  return groups.flat();
}

/** Which sets of a column hold a value that fits: a byte a set. */
function mask(column, fits) {
  const values = Uint8Array.from(column.values, (value) => (fits(value) ? 1 : 0));
  if (column.plain) return values;
  return Uint8Array.from(column.sets, (set) => (set.some((value) => values[value]) ? 1 : 0));
}

/** As it is where that exists, else as a beginning: what is typed is not always finished. */
function maskTyped(column, typed, part = (value) => value) {
  const low = typed.toLowerCase();
  const whole = column.values.some((value) => part(value).toLowerCase() === low);
  return mask(column, (value) => (whole ? part(value).toLowerCase() === low : part(value).toLowerCase().startsWith(low)));
}

/** A choice of several (`languages=c,fortran`) is found by any of them. */
function maskVariant(column, typed) {
  const [key, wanted] = typed.split("=", 2);
  if (wanted === undefined) return maskTyped(column, typed);
  const several = (value) => value.startsWith(`${key}=`) && wanted.split(",").every((one) => value.slice(key.length + 1).split(",").includes(one));
  return column.values.some(several) ? mask(column, several) : maskTyped(column, typed);
}

function masks(columns, query, chosen) {
  const every = [];
  const add = (key, found) => every.push([columns[key].builds, found]);
  for (const version of query.versions) add("version", mask(columns.version, ranges(version)));
  for (const [key, value] of query.values) add(key, maskTyped(columns[key], value));
  for (const variant of query.variants) add("variant", maskVariant(columns.variant, variant));
  for (const { name, version } of query.compilers) {
    const named = (value) => value.split("@")[0].toLowerCase();
    const whole = columns.compiler.values.some((value) => named(value) === name);
    const fits = (value) => (whole ? named(value) === name : named(value).startsWith(name));
    const inside = version ? ranges(version) : () => true;
    add("compiler", mask(columns.compiler, (value) => fits(value) && inside(value.slice(value.indexOf("@") + 1))));
  }
  const any = FACETS.map(() => null);
  FACETS.forEach((key, at) => {
    const wanted = chosen[key] ?? [];
    if (ALL_OF.has(key)) for (const one of wanted) add(key, mask(columns[key], (value) => value === one));
    else if (wanted.length) any[at] = mask(columns[key], (value) => wanted.includes(value));
  });
  return { every, any };
}

/**
 * The packages and builds that fit, and how many builds each value of a facet would leave: in a facet of which any value
 * may fit, what is chosen there already takes nothing away.
 */
export function answer(data, query, chosen) {
  const found = findPackages(data, query.words);
  const narrowed = asksBuilds(query) || FACETS.some((key) => chosen[key]?.length);
  if (!data.columns || !data.catalog) {
    return { packages: found.map((at) => ({ at, count: null, builds: [] })), builds: null, facets: null, narrowed, pending: narrowed };
  }
  const { every, any } = masks(data.columns, query, chosen);
  const columns = FACETS.map((key) => data.columns[key]);
  const codes = columns.map((column) => column.builds);
  const tallies = columns.map((column) => new Uint32Array(column.sets.length));
  // Facets whose builds have the same numbers are counted once.
  const shared = [...new Set(codes)].map((numbered) => [numbered, new Uint32Array(columns[codes.indexOf(numbered)].sets.length)]);
  const asked = any.flatMap((one, at) => (one ? [at] : []));
  const packages = [];
  let builds = 0;
  for (const at of found) {
    const shown = [];
    let count = 0;
    build: for (let build = data.catalog.starts[at]; build < data.catalog.starts[at + 1]; build++) {
      for (const [column, fits] of every) if (!fits[column[build]]) continue build;
      let failed = -1;
      for (const facet of asked) {
        if (any[facet][codes[facet][build]]) continue;
        if (failed >= 0) continue build;
        failed = facet;
      }
      if (failed >= 0) {
        tallies[failed][codes[failed][build]]++;
        continue;
      }
      for (let at = 0; at < shared.length; at++) shared[at][1][shared[at][0][build]]++;
      count++;
      if (shown.length < BUILDS_SHOWN) shown.push(build);
    }
    if (count) packages.push({ at, count, builds: narrowed ? shown : [] });
    builds += count;
  }
  tallies.forEach((tally, at) => {
    const [, counts] = shared.find(([numbered]) => numbered === codes[at]);
    counts.forEach((count, code) => { tally[code] += count; });
  });
  const facets = Object.fromEntries(FACETS.map((key, at) => [key, counted(columns[at], tallies[at], chosen[key] ?? [])]));
  return { packages, builds, facets, narrowed, pending: false };
}

/** How many values there are, and those with the largest counts; what is chosen is there even where nothing is left of it. */
function counted(column, tally, wanted) {
  const counts = new Uint32Array(column.values.length);
  column.sets.forEach((set, code) => { if (tally[code]) for (const value of set) counts[value] += tally[code]; });
  const left = [];
  for (let at = 0; at < counts.length; at++) if (counts[at] && column.values[at]) left.push(at);
  const most = left.sort((one, other) => counts[other] - counts[one]).slice(0, VALUES_SHOWN);
  const chosen = wanted.map((value) => column.values.indexOf(value)).filter((at) => at >= 0 && !most.includes(at));
  const values = [...most, ...chosen].map((at) => ({ value: column.values[at], count: counts[at] }));
  return { total: left.length, values: values.sort((one, other) => other.count - one.count || plain(one.value, other.value)) };
}

/** All values of a build in a column. */
export function valuesOf(column, build) {
  return Array.from(column.sets[column.builds[build]], (value) => column.values[value]);
}

/** A build as Spack writes it: version, variants, compiler, target, operating system. */
export function specOf(data, build) {
  const of = (key) => valuesOf(data.columns[key], build);
  return [
    `@${of("version")}`, of("variant").join(" "), of("compiler").map((name) => `%${name}`).join(" "), `target=${of("target")}`, `os=${of("os")}`,
  ].filter(Boolean).join(" ");
}

/** Query and facets as the URL carries them. */
export function writeState(text, chosen) {
  const found = new URLSearchParams();
  if (text) found.set("q", text);
  for (const key of FACETS) for (const value of chosen[key] ?? []) found.append(key, value);
  return found.size ? `?${found}` : "";
}

export function readState(search) {
  const found = new URLSearchParams(search);
  const chosen = Object.fromEntries(FACETS.map((key) => [key, [...new Set(found.getAll(key))]]));
  return { text: (found.get("q") ?? "").slice(0, 500), chosen };
}
