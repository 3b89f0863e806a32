// What makes one concrete spec another than a build, the most decisive first: as cachelib/steps/differing.py finds it.
"use strict";

export const FIELDS = [
  "platform", "target", "os", "libc", "compiler", "version", "variant", "flags", "external", "namespace", "dependency", "recipe", "other",
];
const WEIGHTS = {
  platform: 5000, target: 300, os: 400, libc: 100, compiler: 120, version: 80, variant: 20, flags: 20, external: 40, namespace: 40,
  dependency: 20, recipe: 3, other: 3,
};
const BELOW = 4;
const LANGUAGES = ["c", "cxx", "fortran"];
const LIBCS = ["glibc", "musl"];
const RUNTIMES = ["gcc-runtime", "intel-oneapi-runtime", "compiler-wrapper"];
const FLAGS = ["cflags", "cppflags", "cxxflags", "fflags", "ldflags", "ldlibs"];
const WHOLE = ["platform", "target", "os", "libc", "compiler"];
const KNOWN = [
  "name", "version", "arch", "namespace", "parameters", "compiler", "dependencies", "external", "package_hash", "hash", "full_hash",
  "annotations", "patches", "concrete", "build_hash",
];

// Both specs are `{ root, nodes }`: a node, and all nodes of its DAG by hash. The result has `field`, `name`, `asked`, `there`, `path`, `also`.
export function differences(asked, there) {
  if (asked.root.hash === there.root.hash) return [];
  const found = withoutFollowers(walk(asked, there));
  if (!found.length) found.push(one("other", asked.root.hash, there.root.hash, "hash"));
  const merged = new Map();
  for (const each of found) {
    const key = WHOLE.includes(each.field) ? each.field : JSON.stringify([each.field, each.name, each.asked, each.there, each.path.at(-1) ?? ""]);
    const known = merged.get(key);
    if (!known) { merged.set(key, each); continue; }
    const shorter = compare([each.path.length, ...each.path], [known.path.length, ...known.path]) < 0 ? each : known;
    merged.set(key, { ...shorter, also: known.also + 1 });
  }
  return [...merged.values()].sort((a, b) => compare(order(a), order(b)));
}

export const distance = (found) => found.reduce((sum, each) => sum + weight(each), 0);

function weight({ field, path, asked, there }) {
  if (field === "target" && !path.length && family(asked) !== family(there)) return WEIGHTS.platform;
  return path.length ? Math.min(BELOW, WEIGHTS[field]) : WEIGHTS[field];
}

// The family of a microarchitecture, as archspec has it; what is not known here is taken for one of x86_64.
export function family(target) {
  if (/^(arm|ppc|ppcle|sparc|sparc64)$/.test(target)) return target;
  if (/^(aarch64|armv|neoverse|a64fx|cortex|thunderx|graviton|ampere|olympus|m\d+$)/.test(target)) return "aarch64";
  if (/^(ppc64|power\d+)/.test(target)) return target.endsWith("le") ? "ppc64le" : "ppc64";
  if (/^(riscv64|u74|x60)/.test(target)) return "riscv64";
  return /^(x86|i\d86|pentium\d|prescott)$/.test(target) ? "x86" : "x86_64";
}

const one = (field, asked, there, name = "") => ({ field, asked, there, name, path: [], also: 0 });

function order({ field, name, path }) {
  const below = FIELDS.indexOf(path.length ? "dependency" : field);
  const last = field === "recipe" || field === "other" ? 1 : 0;
  return [last, below, path.length, FIELDS.indexOf(field), ...path, name];
}

function compare(a, b) {
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    if (a[at] === b[at]) continue;
    if (a[at] === undefined) return -1;
    if (b[at] === undefined) return 1;
    return a[at] < b[at] ? -1 : 1;
  }
  return 0;
}

function withoutFollowers(found) {
  const fields = new Set(found.map((each) => each.field));
  let left = found;
  if (fields.has("compiler")) {
    left = left.filter((each) => each.field === "compiler" || !each.path.some((name) => RUNTIMES.includes(name)))
      .filter((each) => !(each.field === "dependency" && RUNTIMES.includes(each.name)));
  }
  return fields.has("os") ? left.filter((each) => each.field !== "libc") : left;
}

function walk(asked, there) {
  const found = [], seen = new Set([`${asked.root.hash} ${there.root.hash}`]);
  const waiting = [[asked.root, there.root, []]];
  while (waiting.length) {
    const [ours, theirs, path] = waiting.shift();
    const add = (each) => found.push({ ...each, path });
    fields(ours, theirs).forEach(add);
    compilers(asked, ours, there, theirs).forEach(add);
    const mine = needs(ours), other = needs(theirs);
    const built = new Set([...mine.values(), ...other.values()].filter(isCompiler).map((edge) => edge.name));
    for (const name of [...new Set([...mine.keys(), ...other.keys()])].sort()) {
      const [a, b] = [asked.nodes.get(mine.get(name)?.hash), there.nodes.get(other.get(name)?.hash)];
      if (built.has(name) && !(a && b && label(a) === label(b))) continue;
      if (!mine.has(name) || !other.has(name)) {
        // Spec format 4 tells of the compiler and of nothing that comes with it.
        const apart = [...LIBCS, ...RUNTIMES].includes(name) && Boolean(ours.compiler) !== Boolean(theirs.compiler);
        if (!apart) oneSided(asked, mine, there, other, name).forEach(add);
      }
      else if (a && b && a.hash !== b.hash) {
        const key = `${a.hash} ${b.hash}`;
        if (LIBCS.includes(name) && label(a) !== label(b)) add(one("libc", label(a), label(b)));
        else if (!seen.has(key)) { seen.add(key); waiting.push([a, b, [...path, name]]); }
      }
    }
  }
  return found;
}

function oneSided(asked, mine, there, other, name) {
  const [ours, theirs] = [mine.get(name), other.get(name)];
  if (LIBCS.includes(name)) return [one("libc", ours ? label(asked.nodes.get(ours.hash)) : "", theirs ? label(there.nodes.get(theirs.hash)) : "")];
  const virtuals = (ours ?? theirs).virtuals;
  const shares = (edge) => edge.virtuals.some((virtual) => virtuals.includes(virtual));
  if (ours) {
    const rival = [...other.values()].find((edge) => !mine.has(edge.name) && shares(edge))?.name ?? "";
    return [one("dependency", name, rival, rival ? [...virtuals].sort()[0] : name)];
  }
  return [...mine.values()].some((edge) => !other.has(edge.name) && shares(edge)) ? [] : [one("dependency", "", name, name)];
}

const targetOf = (node) => (node.arch?.target && typeof node.arch.target === "object" ? node.arch.target.name : node.arch?.target) ?? "";

function fields(ours, theirs) {
  const found = [];
  const pairs = [
    ["platform", ours.arch?.platform ?? "", theirs.arch?.platform ?? ""], ["target", targetOf(ours), targetOf(theirs)],
    ["os", ours.arch?.platform_os ?? "", theirs.arch?.platform_os ?? ""], ["version", ours.version, theirs.version],
    ["namespace", ours.namespace ?? "builtin", theirs.namespace ?? "builtin"],
  ];
  for (const [field, a, b] of pairs) if (a !== b) found.push(one(field, short(a), short(b)));
  const outside = [external(ours), external(theirs)];
  if (outside[0] !== outside[1]) found.push(one("external", ...outside));
  const [a, b] = [ours.parameters ?? {}, theirs.parameters ?? {}];
  const value = (from, name) => (Object.hasOwn(from, name) ? from[name] : null);
  for (const name of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
    const [x, y] = [value(a, name), value(b, name)];
    if (name === "patches" || same(x, y) || (FLAGS.includes(name) && empty(x) && empty(y))) continue;
    found.push(one(FLAGS.includes(name) ? "flags" : "variant", typed(name, x), typed(name, y), name));
  }
  const recipes = [recipe(ours), recipe(theirs)];
  if (recipes[0] !== recipes[1]) found.push(one("recipe", ...recipes));
  for (const name of [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].sort()) {
    if (!KNOWN.includes(name) && !same(value(ours, name), value(theirs, name))) found.push(one("other", short(value(ours, name)), short(value(theirs, name)), name));
  }
  return found;
}

function compilers(asked, ours, there, theirs) {
  const [a, b] = [builtWith(asked, ours), builtWith(there, theirs)];
  return a === b ? [] : [one("compiler", a, b)];
}

function builtWith(spec, node) {
  if (node.compiler) return `${node.compiler.name}@${node.compiler.version}`;
  const found = [...needs(node).values()].filter(isCompiler).map((edge) => spec.nodes.get(edge.hash)).filter(Boolean).map(label);
  return [...new Set(found)].sort().join(" ");
}

function needs(node) {
  const list = Array.isArray(node.dependencies) ? node.dependencies : [];
  return new Map(list.map((edge) => [edge.name, { name: edge.name, hash: edge.hash, virtuals: edge.parameters?.virtuals ?? [] }]));
}

const isCompiler = (edge) => edge.virtuals.some((virtual) => LANGUAGES.includes(virtual));
const label = (node) => (node ? `${node.name}@${node.version}` : "");
const short = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value)).slice(0, 200);
const empty = (value) => value === null || value === "" || value === false || (typeof value === "object" && !Object.keys(value).length);
const sorted = (value) => (value && typeof value === "object" && !Array.isArray(value)
  ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])])) : Array.isArray(value) ? value.map(sorted) : value);
const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const external = ({ external: found }) => (!found ? "" : typeof found === "object" ? short(found.path || found.module) : short(found));

function recipe(node) {
  const patches = Array.isArray(node.parameters?.patches) ? node.parameters.patches.map((patch) => short(patch).slice(0, 7)).join(", ") : "";
  return [short(node.package_hash).slice(0, 7), patches].filter(Boolean).join(" with patches ");
}

function typed(name, value) {
  if (value === null) return "";
  if (typeof value === "boolean") return `${value ? "+" : "~"}${name}`;
  if (Array.isArray(value) && FLAGS.includes(name)) return value.length ? `${name}=${value.join(" ")}` : "";
  return Array.isArray(value) ? `${name}=${value.join(",") || "none"}` : `${name}=${short(value)}`;
}
