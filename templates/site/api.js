// Reads the API by its own templates: each file once, and none that the service document doesn't lead to.
"use strict";

const START = new URL("../api/v1/index.json", import.meta.url);
const HASH = /^[a-z2-7]{32}$/;
const held = new Map();

// What an address says of a build: `#hash`, or `?hash=` where somebody wrote it so.
export function wanted(place) {
  return [place.hash.slice(1), new URLSearchParams(place.search).get("hash") ?? ""].find((found) => HASH.test(found)) ?? "";
}

// RFC 6570 as far as the templates need it: `{name}`, `{name:2}`, `{#name}`.
export function expand(template, values) {
  return template.replace(/\{(#?)(\w+)(?::(\d+))?\}/g, (_, mark, name, length) => {
    const value = String(values[name] ?? "");
    return mark + encodeURIComponent(length ? value.slice(0, Number(length)) : value);
  });
}

export function get(path) {
  const url = new URL(path, START);
  // What a name in the API leads to lies on this site.
  if (url.origin !== START.origin) return Promise.reject(new Error(`${path} is not of this site`));
  if (!held.has(url.href)) {
    held.set(url.href, fetch(url).then((answer) => {
      if (!answer.ok) throw new Error(`${url.pathname}: ${answer.status}`);
      return answer.json();
    }).catch((error) => { held.delete(url.href); throw error; }));
  }
  return held.get(url.href);
}

export async function byTemplate(kind, values) {
  const { templates } = await get("index.json");
  return get(expand(templates[kind], values));
}

// In a cache of more builds than this every prefix has its shard, so that the index of them need not be asked.
const FULL = 20000;

// What a shard says of a hash, with the shard, or nothing where there is none.
export async function sharded(kind, index, hash) {
  const { counts, documents } = await get("index.json");
  if (counts.builds < FULL) {
    const { shards } = await get(documents[index].path);
    if (!Object.hasOwn(shards, hash.slice(0, 2))) return null;
  }
  const shard = await byTemplate(kind, { hash });
  return Object.hasOwn(shard.specs, hash) ? { shard, found: shard.specs[hash] } : null;
}

// A spec of the API with the sources of its builds put in, or nothing where the cache has none of that hash.
export async function spec(hash) {
  const { shard, found } = (await sharded("spec-shard", "specs", hash)) ?? {};
  return found ? { ...found, hash, builds: found.builds.map((build) => ({ ...build, source: shard.sources[build.source] ?? {} })) } : null;
}

// Asks for many things at once, but never for more than six: `see` is told of each as it comes.
export async function each(items, ask, see = () => {}) {
  const waiting = [...items];
  const work = async () => {
    while (waiting.length) {
      const item = waiting.shift();
      see(item, await ask(item).catch(() => null));
    }
  };
  await Promise.all(Array.from({ length: 6 }, work));
}

// Every node of a DAG by hash, root first: out of the build's spec file, or by the shards, level by level.
export const NODES = 800;
export async function closure(root, told = () => {}) {
  const file = root.builds.find((build) => build.specFile);
  if (file) {
    const whole = await get(file.specFile.path).catch(() => null);
    if (whole) return new Map(whole.spec.nodes.slice(0, NODES).map((node) => [node.hash, node]));
  }
  const found = new Map([[root.hash, root.node]]);
  let level = [root.node];
  while (level.length && found.size < NODES) {
    const next = [...new Set(level.flatMap((node) => edges(node).map((edge) => edge.hash)))].filter((hash) => !found.has(hash));
    level = [];
    await each(next.slice(0, NODES - found.size), spec, (hash, one) => {
      if (!one || !one.node) return;
      found.set(hash, one.node);
      level.push(one.node);
      told(found.size);
    });
  }
  return found;
}

// The edges of a node: format 5 nests their types, format 4 has them beside the name.
export function edges(node) {
  const list = Array.isArray(node?.dependencies) ? node.dependencies : [];
  return list.map((edge) => ({ hash: edge.hash, name: edge.name, types: edge.parameters?.deptypes ?? edge.type ?? [] }));
}

export const isRuntime = (edge) => edge.types.includes("link") || edge.types.includes("run");

// The nodes of an image, in the order of its layers: each after all that it needs, the root last; externals have none.
export function layers(nodes, root) {
  const order = new Set(), entered = new Set();
  const stack = [[root, false]];
  while (stack.length) {
    const [hash, left] = stack.pop();
    const node = nodes.get(hash);
    if (!node || order.has(hash)) continue;
    if (left) { order.add(hash); continue; }
    if (entered.has(hash)) continue;
    entered.add(hash);
    stack.push([hash, true]);
    for (const edge of edges(node)) if (isRuntime(edge) && !order.has(edge.hash)) stack.push([edge.hash, false]);
  }
  return [...order].map((hash) => nodes.get(hash)).filter((node) => !node.external);
}
