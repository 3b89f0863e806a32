// Draws a DAG as SVG: boxes are links, what a box hangs together with lights up, arrows walk, buttons zoom.
"use strict";

import { layout } from "./layout.js";
import { draw, make } from "./parts.js";

const ZOOM = [0.35, 0.5, 0.7, 1, 1.4, 2], PADDING = 24;

// `nodes` have id, label, title, kind and href, the root first; `links` are pairs of ids.
export function graph(nodes, links) {
  const plan = layout(nodes, links);
  const about = new Map(nodes.map((node) => [node.id, node]));
  const lines = plan.lines.map((line) => ({ ...line, shape: draw("path", { d: line.path, class: line.faint ? "faint" : null }) }));
  const boxes = new Map(plan.boxes.map((box) => [box.id, { ...box, shape: shape(box, about.get(box.id)) }]));
  const picture = draw("svg", { viewBox: `0 0 ${Math.ceil(plan.width)} ${Math.ceil(plan.height)}`, role: "group", "aria-label": "Dependency graph" },
    draw("g", { class: "lines", "aria-hidden": "true" }, lines.filter((line) => line.faint).map((line) => line.shape), lines.filter((line) => !line.faint).map((line) => line.shape)),
    draw("g", {}, [...boxes.values()].map((box) => box.shape)));
  light(picture, boxes, lines);
  walk(picture, boxes, lines);
  const window_ = make("div", { class: "graph scroll", tabindex: "0", role: "region", "aria-label": "Dependency graph, to scroll" }, picture);
  const root = plan.boxes[0];
  // The root may stand in the middle of a high column: there it begins.
  requestAnimationFrame(() => { window_.scrollTop = root.y + root.height / 2 - window_.clientHeight / 2; });
  return [zoom(picture, plan, window_), window_];
}

function shape(box, node) {
  return draw("a", { href: node.href, class: `node ${node.kind}`, "data-hash": box.id },
    draw("title", {}, node.title),
    draw("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: 5 }),
    draw("text", { x: box.x + 9, y: box.y + box.height / 2 + 4.5 }, box.label));
}

// All that a node needs, and all that needs it, by the lines between.
function light(picture, boxes, lines) {
  const from = Map.groupBy ? Map.groupBy(lines, (line) => line.from) : grouped(lines, "from");
  const to = Map.groupBy ? Map.groupBy(lines, (line) => line.to) : grouped(lines, "to");
  const reach = (start, beside, end, lit) => {
    const waiting = [start], seen = new Set(waiting);
    while (waiting.length) {
      for (const line of beside.get(waiting.pop()) ?? []) {
        lit.add(line.shape);
        if (seen.has(line[end])) continue;
        seen.add(line[end]);
        lit.add(boxes.get(line[end]).shape);
        waiting.push(line[end]);
      }
    }
  };
  const dark = () => {
    picture.classList.remove("lighting");
    for (const found of picture.querySelectorAll(".lit")) found.classList.remove("lit");
  };
  for (const [id, box] of boxes) {
    const on = () => {
      dark();
      const lit = new Set([box.shape]);
      reach(id, from, "to", lit);
      reach(id, to, "from", lit);
      picture.classList.add("lighting");
      for (const found of lit) found.classList.add("lit");
    };
    for (const name of ["mouseenter", "focus"]) box.shape.addEventListener(name, on);
    for (const name of ["mouseleave", "blur"]) box.shape.addEventListener(name, dark);
  }
}

function grouped(lines, end) {
  const found = new Map();
  for (const line of lines) found.set(line[end], [...(found.get(line[end]) ?? []), line]);
  return found;
}

// Arrows: right to what a node needs, left to what needs it, up and down in its column.
function walk(picture, boxes, lines) {
  const columns = grouped([...boxes.values()].sort((a, b) => a.y - b.y), "column");
  picture.addEventListener("keydown", (event) => {
    const here = boxes.get(event.target.closest?.("a.node")?.dataset.hash);
    if (!here || event.altKey || event.ctrlKey || event.metaKey) return;
    const column = columns.get(here.column), at = column.indexOf(here);
    const nearest = (found) => found.sort((a, b) => Math.abs(a.y - here.y) - Math.abs(b.y - here.y))[0];
    const next = {
      ArrowRight: () => nearest(lines.filter((line) => line.from === here.id).map((line) => boxes.get(line.to))),
      ArrowLeft: () => nearest(lines.filter((line) => line.to === here.id).map((line) => boxes.get(line.from))),
      ArrowDown: () => column[at + 1],
      ArrowUp: () => column[at - 1],
    }[event.key]?.();
    if (!next) return;
    event.preventDefault();
    next.shape.focus();
  });
}

function zoom(picture, plan, window_) {
  let scale = 1;
  const set = (value) => {
    scale = value;
    picture.setAttribute("width", Math.ceil(plan.width * scale));
    picture.setAttribute("height", Math.ceil(plan.height * scale));
  };
  const button = (text, label, onclick) => make("button", { type: "button", "aria-label": label, onclick }, text);
  set(1);
  return make("p", { class: "tools" },
    button("−", "Smaller", () => set(ZOOM.findLast((value) => value < scale - 0.01) ?? scale)),
    button("+", "Larger", () => set(ZOOM.find((value) => value > scale + 0.01) ?? scale)),
    button("Whole", "The whole graph", () => set(Math.max(0.15, Math.min(1, (window_.clientWidth - PADDING) / plan.width, (window_.clientHeight - PADDING) / plan.height)))),
    make("span", { class: "muted" }, "What needs stands left of what is needed. Dashed: an external. Faint: a longer way says it too."));
}
