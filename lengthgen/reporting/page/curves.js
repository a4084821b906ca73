"use strict";
// Curves by evaluation length: uPlot draws them; here are the switches, the list that shows the
// values under the cursor, the keyboard, and the colours of light and dark pages.

const CLEAR = 8; // more bands than that hide each other

class Curves {
  constructor(figure) {
    this.figure = figure;
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.protocol = this.data.protocols[0];
    this.metric = this.data.metrics[0];
    this.on = new Set(this.data.lines.filter((line) => line.on).map((line) => line.name));
    this.intervals = this.on.size <= CLEAR;
    this.at = this.data.lengths.length - 1;
    this.build();
    new ResizeObserver(() => this.fit()).observe(this.holder);
    prefersDark.addEventListener("change", () => { this.swatches(); this.draw(); });
  }

  get values() { return this.data.values[this.protocol][this.metric.key] || {}; }
  get signed() { return ["loss_change", "below_bigram"].includes(this.metric.key); }
  get floor() { return this.metric.key === "loss" ? this.data.floors[this.protocol] : null; }
  get shown() { return this.data.lines.filter((line) => this.on.has(line.name)); }
  colour(line) { return prefersDark.matches ? line.dark : line.colour; }

  build() {
    const title = this.figure.querySelector("figcaption").textContent;
    this.unit = make("p", { className: "unit" });
    this.holder = make("div", {
      className: "plot", tabIndex: 0,
      attributes: {
        role: "group",
        "aria-label": `${title}. Left and right arrow keys move between lengths; plus zooms in, ` +
          "Escape shows all. The tables below have every number.",
      },
    });
    this.tip = make("div", { className: "tip", hidden: true, attributes: { "aria-hidden": "true" } });
    this.heading = make("p", { className: "at", attributes: { "aria-live": "polite" } });
    this.list = make("ul");
    for (const line of this.data.lines) this.list.append(this.row(line));
    const readout = make("div", { className: "readout" }, this.heading, this.list);
    if (this.data.lines.length > 3) {
      readout.append(make("div", { className: "all" },
        this.button("All", () => this.switchAll(true)), this.button("None", () => this.switchAll(false))));
    }
    const hint = make("p", {
      className: "hint",
      textContent: "Drag over the curves to zoom, double-click to see all again. Bands: 95 % intervals.",
    });
    const plot = make("div", {}, this.unit, this.holder, hint);
    this.figure.append(this.controls(), make("div", { className: "board" }, plot, readout));
    this.swatches();
    this.holder.addEventListener("keydown", (event) => this.key(event));
  }

  controls() {
    const metrics = this.select("Metric", this.data.metrics.map((one) => [one.key, one.title]),
      (key) => { this.metric = this.data.metrics.find((one) => one.key === key); });
    const protocols = this.select("Protocol", this.data.protocols.map((one) => [one, one]), (name) => {
      this.protocol = name;
    });
    const box = make("input", { type: "checkbox", checked: this.intervals });
    box.addEventListener("change", () => { this.intervals = box.checked; this.draw(); });
    const buttons = make("div", { className: "buttons" },
      this.button("Zoom in", () => this.zoom(0.5)), this.button("Show all", () => this.draw()));
    return make("div", { className: "controls" }, metrics, protocols,
      make("label", {}, box, "Intervals"), buttons);
  }

  select(label, options, change) {
    const box = make("select");
    for (const [value, text] of options) box.append(make("option", { value, textContent: text }));
    box.addEventListener("change", () => { change(box.value); this.draw(); });
    return make("label", {}, label, box);
  }

  button(text, click) {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", click);
    return button;
  }

  row(line) {
    const box = make("input", { type: "checkbox", checked: this.on.has(line.name) });
    box.addEventListener("change", () => this.switch(line.name, box.checked));
    return make("li", {}, make("label", {}, box, make("canvas", { className: "swatch", width: 54, height: 24,
      attributes: { "aria-hidden": "true", style: "width:27px;height:12px" } }),
    make("code", { className: "scheme", textContent: line.name }),
    make("span", { className: "value" }), make("span", { className: "between" })));
  }

  switch(name, on) {
    if (on) this.on.add(name); else this.on.delete(name);
    this.draw();
  }

  switchAll(on) {
    this.on = new Set(on ? this.data.lines.map((line) => line.name) : []);
    for (const box of this.list.querySelectorAll("input")) box.checked = on;
    this.draw();
  }

  swatches() {
    this.list.querySelectorAll("canvas").forEach((canvas, i) => {
      const line = this.data.lines[i], context = canvas.getContext("2d");
      context.clearRect(0, 0, 54, 24);
      Object.assign(context, { strokeStyle: this.colour(line), fillStyle: this.colour(line), lineWidth: 4 });
      context.setLineDash(line.dash.map((part) => part * 2));
      context.beginPath();
      context.moveTo(0, 12);
      context.lineTo(54, 12);
      context.stroke();
    });
  }

  draw() {
    const { width, height } = this.holder.getBoundingClientRect();
    if (!width) return; // within a fold that is closed: `fit` draws when it opens
    this.plot?.destroy();
    this.holder.replaceChildren(this.tip);
    const { series, data, bands } = this.series();
    const [low, high] = [this.data.lengths[0], this.data.lengths.at(-1)];
    const room = Math.pow(high / low, 0.04);
    this.unit.textContent = `${this.metric.title}, ${this.metric.unit} (${this.protocol})`;
    this.plot = new uPlot({
      width: Math.max(Math.round(width), 200), height, series, bands, legend: { show: false },
      cursor: { drag: { x: true, y: true, uni: 30 }, y: false, points: { size: 9 } },
      scales: {
        x: { time: false, distr: 3, log: 2, range: (u, a, b) =>
          (a === low && b === high) || a == null ? [low / room, high * room] : [a, b] },
        y: { distr: this.metric.log ? 3 : 1 },
      },
      axes: [lengthAxis(this.data), {
        stroke: () => ink("--soft"), grid: { stroke: () => ink("--grid"), width: 1 }, ticks: { show: false },
        font: "13px system-ui, sans-serif", size: 52,
        values: (u, splits, axis, space, step) => splits.map((v) => tick(v, this.metric.log ? 0 : step)),
      }],
      hooks: { draw: [(u) => drawMarks(u, this.data, { floor: this.floor, zero: this.signed })], setCursor: [(u) => this.moved(u)] },
    }, data, this.holder);
    this.read(this.at);
  }

  series() {
    const series = [{}], data = [this.data.lengths], bands = [];
    for (const line of this.shown) {
      const cells = this.values[line.name] || this.data.lengths.map(() => null);
      const colour = this.colour(line), at = series.length;
      series.push({ label: line.name, stroke: colour, width: 2.2, dash: line.dash, points: { size: 6, fill: colour } });
      data.push(cells.map((cell) => cell && cell[0]));
      if (!this.intervals || !cells.some((cell) => cell?.length === 3)) continue;
      for (const end of [2, 1]) {
        series.push({ label: "", stroke: "transparent", width: 0, points: { show: false } });
        data.push(cells.map((cell) => cell && (cell[end] ?? cell[0])));
      }
      bands.push({ series: [at + 1, at + 2], fill: colour + (prefersDark.matches ? "30" : "22") });
    }
    return { series, data, bands };
  }

  moved(u) {
    const { idx, left, top } = u.cursor;
    this.tip.hidden = true;
    if (idx == null || left < 0) return;
    const known = this.shown.filter((line) => this.values[line.name]?.[idx]);
    const distance = (line) => Math.abs(u.valToPos(this.values[line.name][idx][0], "y") - top);
    const near = known.sort((a, b) => distance(a) - distance(b))[0];
    this.read(idx, near?.name);
    if (!near || !this.holder.matches(":hover")) return;
    const [value, ...ends] = this.values[near.name][idx];
    const between = ends.length ? ` [${ends.map((end) => written(end, this.signed)).join(", ")}]` : "";
    this.tip.replaceChildren(make("b", { textContent: near.name }),
      `${this.data.lengths[idx].toLocaleString("en")} tokens: ${written(value, this.signed)}${between}`);
    this.tip.hidden = false;
    const place = u.valToPos(this.data.lengths[idx], "x") + u.over.offsetLeft;
    const room = this.holder.clientWidth - this.tip.offsetWidth;
    const right = place + 14 <= room ? place + 14 : place - 14 - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(room, right))}px`;
    this.tip.style.top = `${Math.max(0, u.valToPos(value, "y") + u.over.offsetTop - 24)}px`;
  }

  // The list: what every scheme has at one length.
  read(idx, near) {
    this.at = idx;
    const length = this.data.lengths[idx];
    this.heading.textContent = `At ${length.toLocaleString("en")} tokens ` +
      `(${+(length / this.data.train).toPrecision(3)} times the training length)`;
    this.list.querySelectorAll("li").forEach((row, i) => {
      const { name } = this.data.lines[i], cell = this.values[name]?.[idx];
      const word = this.data.said[this.protocol]?.[name]?.[length] || "";
      row.classList.toggle("off", !this.on.has(name));
      row.classList.toggle("near", name === near);
      row.querySelector(".value").textContent = cell ? written(cell[0], this.signed) : "no value";
      row.querySelector(".between").replaceChildren(
        make("span", { textContent: word }),
        make("span", { textContent: cell?.length === 3
          ? `[${written(cell[1], this.signed)}, ${written(cell[2], this.signed)}]` : "" }));
    });
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) this.point(Math.max(0, Math.min(this.data.lengths.length - 1, this.at + step)));
    else if (event.key === "+") this.zoom(0.5);
    else if (event.key === "Escape") this.draw();
    else return;
    event.preventDefault();
  }

  point(idx) {
    this.read(idx);
    this.plot.setCursor({ left: this.plot.valToPos(this.data.lengths[idx], "x"), top: 0 });
  }

  // Around the length in view, by this share of the range.
  zoom(share) {
    const { min, max } = this.plot.scales.x, middle = this.data.lengths[this.at];
    const half = Math.pow(max / min, share / 2);
    const centre = Math.min(Math.max(middle, min * half), max / half);
    this.plot.setScale("x", { min: centre / half, max: centre * half });
  }

  fit() {
    const { width, height } = this.holder.getBoundingClientRect();
    if (!this.plot) this.draw();
    else if (width && Math.round(width) !== this.plot.width) this.plot.setSize({ width: Math.round(width), height });
  }
}

for (const figure of document.querySelectorAll("figure.chart")) new Curves(figure);
