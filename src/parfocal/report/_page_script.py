"""The page's own script: zoom into a figure. Without it the figures are seen, whole.

A library was weighed: plotly.js is 3-4 MB in every page, uPlot and d3 are no packages of Python and would have to
be kept here. What a reader of a report does with a figure (into a stretch of time, back, along) is what stands
below, over SVG that also prints and is seen without scripts.
"""

from __future__ import annotations

SCRIPT = r"""
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const numbers = text => text.split(" ").map(Number);
  const ticks = (low, high, most) => {
    const span = Math.abs(high - low);
    if (!(span > 0)) return [];
    const raw = span / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find(k => k * power >= raw * (1 - 1e-9));
    const found = [];
    const last = Math.floor(Math.max(low, high) / step + 1e-9);
    for (let k = Math.ceil(Math.min(low, high) / step - 1e-9); k <= last; k++)
      found.push(Number((k * step).toPrecision(12)));
    return found;
  };
  const make = (parent, name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };

  function equip(figure) {
    const svg = figure.querySelector("svg");
    const [left, top, width, height] = numbers(svg.dataset.box);
    const full = numbers(svg.dataset.full), equal = svg.dataset.equal === "1";
    const names = JSON.parse(svg.dataset.names);
    const data = svg.querySelector(".data"), axes = svg.querySelector(".axes");
    let view = full.slice();

    const draw = () => {
      const [x0, x1, y0, y1] = view, [X0, X1, Y0, Y1] = full;
      const sx = (X1 - X0) / (x1 - x0), sy = (Y1 - Y0) / (y1 - y0);
      const dx = -width * sx * (x0 - X0) / (X1 - X0), dy = -height * sy * (y1 - Y1) / (Y0 - Y1);
      data.setAttribute("transform", `matrix(${sx} 0 0 ${sy} ${dx} ${dy})`);
      axes.replaceChildren();
      for (const value of ticks(x0, x1, equal ? 5 : 8)) {
        const at = left + width * (value - x0) / (x1 - x0);
        make(axes, "path", {d: `M${at} ${top}v${height}`});
        make(axes, "text", {x: at, y: top + height + 16}, value);
      }
      const rows = names.length ? [...names.entries()] : ticks(y0, y1, 5).map(value => [value, value]);
      for (const [value, name] of rows) {
        const at = top + height * (value - y1) / (y0 - y1);
        if (at < top || at > top + height) continue;
        make(axes, "path", {d: `M${left} ${at}h${width}`});
        make(axes, "text", {x: left - 6, y: at + 4, class: "y"}, name);
      }
      svg.dataset.view = view.join(" ");
      figure.classList.toggle("zoomed", view.some((value, k) => value !== full[k]));
    };
    const show = wanted => {
      // Nothing beyond the ends, and not so near that numbers run out.
      for (const k of [0, 2]) {
        const span = full[k + 1] - full[k];
        let size = (wanted[k + 1] - wanted[k]) / span, at = (wanted[k] - full[k]) / span;
        size = Math.min(1, Math.max(size, 1e-4));
        at = Math.min(1 - size, Math.max(0, at));
        view[k] = size === 1 ? full[k] : full[k] + at * span;
        view[k + 1] = size === 1 ? full[k + 1] : full[k] + (at + size) * span;
      }
      draw();
    };
    const nearer = (factor, x, y) => {
      const [x0, x1, y0, y1] = view, u = x0 + x * (x1 - x0), v = y1 + y * (y0 - y1), f = equal ? factor : 1;
      show([u - (u - x0) / factor, u + (x1 - u) / factor, v + (y0 - v) / f, v + (y1 - v) / f]);
    };
    const along = (dx, dy) => {
      const [x0, x1, y0, y1] = view;
      show([x0 + dx * (x1 - x0), x1 + dx * (x1 - x0), y0 + dy * (y0 - y1), y1 + dy * (y0 - y1)]);
    };
    const reset = () => show(full);
    const place = event => {
      const frame = svg.querySelector(".frame").getBoundingClientRect();
      return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
    };

    // What is being drawn with the pointer: a stretch of x, or a box where it is high enough to be meant as one.
    const drawn = event => {
      const ordered = (p, q) => [p, q].sort((a, b) => a - b).map(v => Math.min(1, Math.max(0, v)));
      const [x, y] = place(event), [c, d] = ordered(from[1], y);
      return [...ordered(from[0], x), ...(d - c > 0.15 ? [c, d] : [0, 1])];
    };

    const bar = document.createElement("div");
    bar.className = "buttons";
    const said = document.createElement("output");
    bar.append(said);
    for (const [text, title, act] of [
      ["+", "zoom in", () => nearer(2, 0.5, 0.5)],
      ["\u2212", "zoom out", () => nearer(0.5, 0.5, 0.5)],
      ["\u21ba", "whole figure", reset],
    ]) {
      const button = document.createElement("button");
      Object.assign(button, {type: "button", textContent: text, title, onclick: act});
      bar.append(button);
    }
    figure.prepend(bar);

    let from = null, held = null, rubber = null;
    svg.addEventListener("wheel", event => {
      if (!event.ctrlKey && document.activeElement !== svg) return;  // else the page is scrolled
      event.preventDefault();
      nearer(1.2 ** (-Math.sign(event.deltaY)), ...place(event));
    }, {passive: false});
    svg.addEventListener("pointerdown", event => {
      if (event.button !== 0 || event.pointerType === "touch") return;
      from = place(event);
      held = view.slice();
      if (event.isTrusted) svg.setPointerCapture(event.pointerId);
      if (!equal && !event.shiftKey) rubber = make(svg, "rect", {class: "rubber"});
    });
    svg.addEventListener("pointermove", event => {
      const [x, y] = place(event), [x0, x1, y0, y1] = view;
      const inside = x >= 0 && x <= 1 && y >= 0 && y <= 1;
      said.textContent = inside
        ? `${(x0 + x * (x1 - x0)).toPrecision(5)}, ${(y1 + y * (y0 - y1)).toPrecision(4)}` : "";
      if (from && rubber) {
        const [a, b, c, d] = drawn(event);
        const box = {x: left + a * width, y: top + c * height, width: (b - a) * width, height: (d - c) * height};
        Object.entries(box)
          .forEach(([key, value]) => rubber.setAttribute(key, value));
      } else if (from) {
        view = held.slice();
        along(from[0] - x, from[1] - y);
      }
    });
    const drop = event => {
      if (from && rubber) {
        const [a, b, c, d] = drawn(event), [x0, x1, y0, y1] = view;
        if (b - a > 0.01)
          show([x0 + a * (x1 - x0), x0 + b * (x1 - x0), y1 + d * (y0 - y1), y1 + c * (y0 - y1)]);
        rubber.remove();
      }
      from = rubber = null;
    };
    svg.addEventListener("pointerup", drop);
    svg.addEventListener("pointercancel", drop);
    svg.addEventListener("dblclick", reset);
    svg.addEventListener("keydown", event => {
      const act = {
        "+": () => nearer(2, 0.5, 0.5), "=": () => nearer(2, 0.5, 0.5), "-": () => nearer(0.5, 0.5, 0.5),
        "0": reset, Escape: reset, ArrowLeft: () => along(-0.2, 0), ArrowRight: () => along(0.2, 0),
        ArrowUp: () => along(0, -0.2), ArrowDown: () => along(0, 0.2),
      }[event.key];
      if (act) { event.preventDefault(); act(); }
    });
    addEventListener("beforeprint", reset);
    draw();
  }

  document.querySelectorAll("figure.plot").forEach(equip);
  document.documentElement.classList.add("scripted");
})();
"""
