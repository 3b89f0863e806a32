// The parts that pages are put together from. Values become text or attributes, never markup; links lead to http(s) or to this site.
"use strict";

import { isRuntime, edges } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export const make = (tag, attributes = {}, ...children) => put(document.createElement(tag), attributes, children);
export const draw = (tag, attributes = {}, ...children) => put(document.createElementNS(SVG, tag), attributes, children);

// A link to elsewhere; what is no address of the web stays text.
export function outward(url, text) {
  return /^https?:\/\/[^\s]+$/.test(url ?? "") ? make("a", { href: url, rel: "nofollow noopener" }, text) : make("span", {}, text);
}

export const buildPage = (hash) => new URL(`../build/index.html#${hash}`, import.meta.url).href;
export const packagePage = (path) => new URL(`../packages/${encodeURIComponent(path)}/index.html`, import.meta.url).href;

export function bytes(count) {
  let value = Number(count);
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return unit === "B" || value >= 100 ? `${value.toFixed(0)} ${unit}` : `${value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

// A value of a spec in one line: any JSON may stand there, and what turns or ends a line becomes `?` (cachelib/model/text.py).
export function plain(value) {
  const text = value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "?");
}

export function target(node) {
  const found = node.arch?.target;
  return typeof found === "string" ? found : found?.name;
}

// The variants of a node as Spack writes them (`steps/wording.py` has the same of a line).
export function variantLine(parameters) {
  return Object.entries(parameters ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => {
    if (typeof value === "boolean") return plain(`${value ? "+" : "~"}${key}`);
    if (value && typeof value === "object" && !Object.keys(value).length) return "";
    return `${plain(key)}=${Array.isArray(value) ? value.map(plain).join(",") : plain(value)}`;
  }).filter(Boolean).join(" ");
}

const FLAG = /^([+~])([\w.-]+)$/;
const VALUE = /^([\w.-]+)=([^]*)$/;
const UNSAID = ["build_system", "generator"];

export function variantWords(line) {
  const tokens = [];
  for (const token of line.split(" ")) {
    if (FLAG.test(token) || VALUE.test(token) || !tokens.length) tokens.push(token);
    else tokens[tokens.length - 1] += ` ${token}`;
  }
  const found = [[], [], []];
  for (const token of tokens) {
    const [, sign, flag] = FLAG.exec(token) ?? [];
    const [, key, value] = VALUE.exec(token) ?? [];
    if (UNSAID.includes(flag ?? key)) continue;
    if (flag) found[sign === "+" ? 0 : 2].push(sign === "+" ? `with ${flag}` : `without ${flag}`);
    else if (key === "patches") found[1].push(value.includes(",") ? `with ${value.split(",").length} patches` : "with a patch");
    else if (key) found[1].push(token);
  }
  return found.flat().slice(0, 60);
}

export function code(line, about) {
  const text = make("code", {}, line);
  const button = make("button", { type: "button", class: "copy", hidden: !navigator.clipboard, onclick: async () => {
    await navigator.clipboard.writeText(line);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return make("div", { class: "code" }, make("pre", { tabindex: "0", "aria-label": about }, text), button);
}

const PLAIN = /^[\w.:-]+(\/[\w.:@-]+)+$/;

// The ways to have a build: see `steps/package_page.py`.
export function commands(hash, name, { reference, base }) {
  const lines = [["With Spack", `spack install --use-buildcache only /${hash}`]];
  if (PLAIN.test(reference)) {
    if (base) lines.push(["As a container", `podman run --rm -it ${reference}`]);
    lines.push(["As files", `skopeo copy docker://${reference} oci:${name}`]);
    lines.push(["What is attached: bill of materials, signatures", `oras discover ${reference}`]);
  }
  return lines.flatMap(([about, line]) => [make("h3", {}, about), code(line, about)]);
}

export const tags = (found) => make("p", { class: "tags" }, found.filter(Boolean).map((text) => make("span", {}, text)));

// A list of facts: what nobody recorded is left out.
export function facts(pairs) {
  const told = pairs.filter(([, ...values]) => values.flat().some((value) => value));
  return make("dl", { class: "facts" }, told.flatMap(([name, ...values]) => [make("dt", {}, name), make("dd", {}, values.flat())]));
}

const named = (version, commit, url) =>
  [version, commit && version ? " · " : "", commit && outward(url && `${url}/commit/${commit}`, make("code", {}, commit.slice(0, 12)))];

// Who built what, out of what: the reasons why it is this build.
export function provenance(build) {
  const { source } = build;
  return [
    ["Stack", source.stack],
    ["Spack", named(source.spack?.version, source.spack?.commit, "https://github.com/spack/spack")],
    ["Recipes", named(source.packages?.version, source.packages?.commit, "https://github.com/spack/spack-packages")],
    ["Cache", source.source && outward(source.source, source.source.replace("https://", "")), named("", source.revision, source.source) && source.revision
      ? [" at ", outward(`${source.source}/commit/${source.revision}`, make("code", {}, source.revision.slice(0, 12)))] : []],
    ["Run", build.run && outward(build.run, build.run.replace("https://", ""))],
    ["Attestation", source.attestation && outward(source.attestation.replace("{digest}", build.digest), "What GitHub attests of the image")],
    ["Built", built(build)],
  ];
}

export function built(build) {
  if (!build.created) return "";
  return `${build.created.slice(0, 10)} ${build.created.slice(11, 16)} UTC${build.seconds === null ? "" : `, in ${Math.round(build.seconds)} s`}`;
}

export function needs(node, direct) {
  const list = edges(node).filter((edge) => isRuntime(edge) === direct);
  return list.map((edge, at) => [at ? ", " : "", make("a", { href: buildPage(edge.hash) }, edge.name)]).flat();
}
