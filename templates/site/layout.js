// Where the boxes and lines of a DAG go: in columns from left to right (Sugiyama, Tagawa, Toda 1981). Pure: no document here.
"use strict";

const HEIGHT = 26, GAP = 10, LANE = 4, BETWEEN = 48, STEEP = 2.2, WIDEST = 220, LETTER = 7.3, LABEL = 30;

export function shorten(text) {
  return text.length > LABEL ? `${text.slice(0, LABEL - 1)}…` : text;
}

// `nodes` are ids with labels, root first, `links` are pairs of ids. Gives boxes, lines, and the size of the whole.
export function layout(nodes, links) {
  const index = new Map(nodes.map((node, at) => [node.id, at]));
  const below = nodes.map(() => new Set());
  for (const [from, to] of links) {
    if (index.has(from) && index.has(to) && from !== to) below[index.get(from)].add(index.get(to));
  }
  const order = topological(below);
  const rank = ranks(below, order);
  const implied = impliedLinks(below, order);
  const { columns, next, trail } = lanes(below, rank, implied);
  untangle(columns, next);
  const y = settle(columns, next, nodes.length);
  return drawn(nodes, below, rank, implied, columns, y, trail);
}

// Every node before all below it; a link that would close a circle is taken out (no DAG of Spack's has one, but data may).
function topological(below) {
  const state = new Uint8Array(below.length), order = [];
  for (let start = 0; start < below.length; start++) {
    const stack = [[start, false]];
    while (stack.length) {
      const [at, left] = stack.pop();
      if (left) { state[at] = 2; order.push(at); continue; }
      if (state[at]) continue;
      state[at] = 1;
      stack.push([at, true]);
      for (const to of [...below[at]].reverse()) if (!state[to]) stack.push([to, false]);
    }
  }
  order.reverse();
  const place = new Map(order.map((at, where) => [at, where]));
  below.forEach((found, at) => { for (const to of found) if (place.get(to) < place.get(at)) found.delete(to); });
  return order;
}

// The column of each node: one right of the rightmost that needs it.
function ranks(below, order) {
  const rank = new Int32Array(below.length);
  for (const at of order) for (const to of below[at]) rank[to] = Math.max(rank[to], rank[at] + 1);
  return rank;
}

// Links that a longer way says already: they are drawn faintly, so that the others can be read.
function impliedLinks(below, order) {
  const reach = below.map(() => 0n), implied = new Set();
  for (const at of [...order].reverse()) {
    let far = 0n;
    for (const to of below[at]) far |= reach[to];
    for (const to of below[at]) if ((far >> BigInt(to)) & 1n) implied.add(key(at, to));
    reach[at] = far;
    for (const to of below[at]) reach[at] |= 1n << BigInt(to);
  }
  return implied;
}

const key = (from, to) => from * 65536 + to;

// Links over several columns get a lane in each of those between; links to one node share theirs.
function lanes(below, rank, implied) {
  const columns = [], next = below.map(() => new Set()), trail = new Map(), shared = new Map();
  const enter = (at, column) => { (columns[column] ??= []).push(at); };
  below.forEach((_, at) => enter(at, rank[at]));
  below.forEach((found, from) => {
    for (const to of found) {
      if (implied.has(key(from, to))) continue;
      const way = [];
      let last = from;
      for (let column = rank[from] + 1; column < rank[to]; column++) {
        const lane = key(column, to);
        if (!shared.has(lane)) {
          shared.set(lane, next.length);
          next.push(new Set());
          enter(shared.get(lane), column);
        }
        next[last].add(shared.get(lane));
        last = shared.get(lane);
        way.push(last);
      }
      next[last].add(to);
      trail.set(key(from, to), way);
    }
  });
  return { columns, next, trail };
}

function upward(next) {
  const before = next.map(() => []);
  next.forEach((found, from) => { for (const to of found) before[to].push(from); });
  return before;
}

// Sweeps to and fro: each column is sorted by the medians of its neighbours' places; the order with the fewest crossings stays.
function untangle(columns, next) {
  const before = upward(next), after = next.map((found) => [...found]);
  const place = new Int32Array(next.length);
  const number = (column) => column.forEach((at, where) => { place[at] = where; });
  columns.forEach(number);
  let best = columns.map((column) => [...column]), least = crossings(columns, after, place);
  for (let turn = 0; turn < 16 && least; turn++) {
    const forth = turn % 2 === 0;
    for (let step = 1; step < columns.length; step++) {
      const column = columns[forth ? step : columns.length - 1 - step];
      const beside = forth ? before : after;
      const wish = new Map(column.map((at) => [at, median(beside[at].map((other) => place[other]), place[at])]));
      column.sort((a, b) => wish.get(a) - wish.get(b) || place[a] - place[b]);
      number(column);
    }
    const found = crossings(columns, after, place);
    if (found < least) { least = found; best = columns.map((column) => [...column]); }
  }
  best.forEach((column, at) => { columns[at] = column; });
}

function median(values, otherwise) {
  if (!values.length) return otherwise;
  values.sort((a, b) => a - b);
  const middle = values.length >> 1;
  return values.length % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Pairs of lines that cross between two columns, counted with a Fenwick tree (Barth, Jünger, Mutzel 2002).
export function crossings(columns, after, place) {
  let count = 0;
  for (const [at, column] of columns.entries()) {
    const width = columns[at + 1]?.length ?? 0, tree = new Int32Array(width + 1);
    let seen = 0;
    for (const from of column) {
      const ends = after[from].map((to) => place[to]).sort((a, b) => a - b);
      for (const end of ends) {
        count += seen;
        for (let i = end + 1; i > 0; i -= i & -i) count -= tree[i];
      }
      for (const end of ends) {
        seen++;
        for (let i = end + 1; i <= width; i += i & -i) tree[i]++;
      }
    }
  }
  return count;
}

// The height of every box and lane: as near to its neighbours as order and distance allow.
function settle(columns, next, real) {
  const before = upward(next), after = next.map((found) => [...found]);
  const half = (at) => (at < real ? HEIGHT + GAP : LANE + GAP) / 2;
  const y = new Float64Array(next.length);
  for (const column of columns) {
    let top = 0;
    for (const at of column) { y[at] = top + half(at); top += 2 * half(at); }
  }
  for (let turn = 0; turn < 24; turn++) {
    const forth = turn % 2 === 0;
    for (let step = 0; step < columns.length; step++) {
      const column = columns[forth ? step : columns.length - 1 - step];
      const wishes = column.map((at) => {
        const beside = [...before[at], ...after[at]].map((other) => y[other]);
        return median(beside, y[at]);
      });
      spread(column, wishes, half).forEach((value, where) => { y[column[where]] = value; });
    }
  }
  const top = Math.min(...columns.flat().map((at) => y[at] - half(at)));
  return y.map((value) => value - top);
}

// The places nearest to the wishes that keep order and distance: isotonic regression by pooling adjacent violators.
export function spread(column, wishes, half) {
  const offsets = [];
  let sum = 0;
  column.forEach((at, where) => { sum += where ? half(column[where - 1]) + half(at) : 0; offsets.push(sum); });
  const pools = [];
  wishes.forEach((wish, where) => {
    pools.push({ sum: wish - offsets[where], count: 1 });
    while (pools.length > 1 && mean(pools.at(-2)) > mean(pools.at(-1))) {
      const last = pools.pop();
      pools.at(-1).sum += last.sum;
      pools.at(-1).count += last.count;
    }
  });
  const flat = pools.flatMap((pool) => Array(pool.count).fill(mean(pool)));
  return flat.map((value, where) => value + offsets[where]);
}

const mean = (pool) => pool.sum / pool.count;

function drawn(nodes, below, rank, implied, columns, y, trail) {
  const widths = columns.map((column) => Math.max(24, ...column.filter((at) => at < nodes.length).map((at) => width(nodes[at].label))));
  const left = [];
  // The higher a column, the more room its lines have, or they would run steeply.
  const room = (at) => Math.min(WIDEST, BETWEEN + STEEP * Math.max(columns[at - 1].length, columns[at].length));
  widths.forEach((_, at) => left.push(at ? left[at - 1] + widths[at - 1] + room(at) : 1));
  const boxes = nodes.map((node, at) => ({
    id: node.id, label: shorten(node.label), column: rank[at],
    x: left[rank[at]], y: y[at] - HEIGHT / 2, width: width(node.label), height: HEIGHT,
  }));
  const lines = below.flatMap((found, from) => [...found].map((to) => {
    const faint = implied.has(key(from, to));
    // Level to the column's edge first: a wider box may stand below.
    const start = [boxes[from].x + boxes[from].width, y[from]];
    const way = faint ? [] : trail.get(key(from, to)).flatMap((lane, step) => {
      const column = rank[from] + 1 + step;
      return [[left[column], y[lane]], [left[column] + widths[column], y[lane]]];
    });
    return { from: nodes[from].id, to: nodes[to].id, faint, path: curve([start, [left[rank[from]] + widths[rank[from]], y[from]], ...way, [left[rank[to]], y[to]]]) };
  }));
  return {
    boxes, lines,
    width: Math.max(...boxes.map((box) => box.x + box.width)) + 1,
    height: Math.max(...boxes.map((box) => box.y + box.height), ...y) + GAP / 2,
  };
}

const width = (label) => Math.ceil(shorten(label).length * LETTER) + 18;
const round = (value) => Math.round(value * 10) / 10;

// Level through a column, bent between two.
function curve(points) {
  let path = `M${round(points[0][0])} ${round(points[0][1])}`;
  for (let at = 1; at < points.length; at++) {
    const [x0, y0] = points[at - 1], [x1, y1] = points[at];
    if (y0 === y1) path += `H${round(x1)}`;
    else {
      const bend = (x1 - x0) / 2;
      path += `C${round(x0 + bend)} ${round(y0)} ${round(x1 - bend)} ${round(y1)} ${round(x1)} ${round(y1)}`;
    }
  }
  return path;
}
