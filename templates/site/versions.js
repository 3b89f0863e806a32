// Versions as Spack orders them: cachelib/model/version.py, of which this is a translation.
const BRANCHES = ["stable", "nightly", "trunk", "head", "master", "main", "develop"];
const PRERELEASES = ["alpha", "beta", "rc"];
const FINAL = [3];
const MAXIMUM = { parts: [[2, BRANCHES.length]], before: FINAL };
const GIT = /^(?:git\.[\w./-]+|[0-9A-Fa-f]{40})=(.+)$/;

// The same versions are asked about at every key.
const keys = new Map();

function versionKey(text) {
  if (!keys.has(text)) keys.set(text, makeKey(text));
  return keys.get(text);
}

function makeKey(text) {
  const git = GIT.exec(text);
  let parts = (git ? git[1] : text).match(/[0-9]+|[A-Za-z]+/g) ?? [];
  let before = FINAL;
  const [late, last] = [PRERELEASES.indexOf(parts.at(-2)), PRERELEASES.indexOf(parts.at(-1))];
  if (parts.length >= 3 && late >= 0 && /^\d/.test(parts.at(-1))) {
    before = [late, Number(parts.at(-1))];
    parts = parts.slice(0, -2);
  } else if (parts.length >= 2 && last >= 0) {
    before = [last];
    parts = parts.slice(0, -1);
  }
  return { parts: parts.map(segment), before };
}

function segment(part) {
  if (/^\d/.test(part)) return [1, Number(part)];
  return BRANCHES.includes(part) ? [2, BRANCHES.indexOf(part)] : [0, part];
}

function compareLists(one, other, compare) {
  for (let at = 0; at < Math.min(one.length, other.length); at++) {
    const found = compare(one[at], other[at]);
    if (found) return found;
  }
  return one.length - other.length;
}

/** The order of numbers, and of texts by their characters. */
export const plain = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

function compareKeys(one, other) {
  const found = compareLists(one.parts, other.parts, (a, b) => plain(a[0], b[0]) || plain(a[1], b[1]));
  return found || compareLists(one.before, other.before, plain);
}

/** What comes after a version and all that begins with it. */
function after({ parts, before }) {
  if (before !== FINAL) return { parts, before: [before[0], before.length > 1 ? before[1] + 1 : 0] };
  if (!parts.length) return { parts: [[0, "A"]], before: FINAL };
  const [kind, last] = parts.at(-1);
  return { parts: [...parts.slice(0, -1), [kind, typeof last === "number" ? last + 1 : afterText(last)]], before: FINAL };
}

function afterText(text) {
  if (text.endsWith("z")) return `${text}A`;
  const next = text.endsWith("Z") ? "a" : String.fromCharCode(text.charCodeAt(text.length - 1) + 1);
  const following = text.slice(0, -1) + next;
  return BRANCHES.includes(following) ? afterText(following) : following;
}

/** What tells whether a version is one that Spack means by `wanted`: `1.2` (and 1.2.x), `=1.2` (alone), `1.2:1.4`, `1.2:`, `:1.4`. */
export function range(wanted) {
  if (GIT.test(wanted)) return (version) => version === wanted;
  if (wanted.startsWith("=")) {
    const only = makeKey(wanted.slice(1));
    return (version) => compareKeys(versionKey(version), only) === 0;
  }
  const colon = wanted.indexOf(":");
  const low = makeKey(colon < 0 ? wanted : wanted.slice(0, colon));
  const high = colon < 0 ? wanted : wanted.slice(colon + 1);
  const end = after(high ? makeKey(high) : MAXIMUM);
  return (version) => compareKeys(low, versionKey(version)) <= 0 && compareKeys(versionKey(version), end) < 0;
}

/** As `range`, for several of which one has to fit: `1.2:1.4,2.0`. */
export function ranges(wanted) {
  const found = wanted.split(",").map(range);
  return (version) => found.some((fits) => fits(version));
}
