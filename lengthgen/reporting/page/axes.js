"use strict";
// The axis of evaluation lengths, and what is marked in a chart besides its curves.

function lengthAxis(data) {
  return {
    stroke: () => ink("--soft"), grid: { stroke: () => ink("--grid"), width: 1 },
    ticks: { show: true, size: 4, stroke: () => ink("--rule") }, font: "13px system-ui, sans-serif", size: 46,
    splits: () => data.lengths, filter: (u, splits) => splits,
    values: (u, splits) => {
      const kept = [], middle = splits.indexOf(data.train);
      const order = [middle, splits.length - 1, 0, ...splits.keys()].filter((i) => i >= 0);
      for (const i of order) {
        const place = u.valToPos(splits[i], "x");
        if (kept.every((other) => other === i || Math.abs(u.valToPos(splits[other], "x") - place) > 46)) kept.push(i);
      }
      return splits.map((length, i) => kept.includes(i)
        ? `${length.toLocaleString("en")}\n${+(length / data.train).toPrecision(3)}×` : "");
    },
  };
}

// The training length, the loss of the bigram table, and no change.
function drawMarks(u, data, { floor, zero }) {
  const { left, top, width, height } = u.bbox, pixels = devicePixelRatio, context = u.ctx;
  context.save();
  Object.assign(context, { strokeStyle: ink("--soft"), fillStyle: ink("--soft"), lineWidth: pixels,
    textAlign: "left", textBaseline: "alphabetic", font: `${12 * pixels}px system-ui, sans-serif` });
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  const line = (points, dash) => {
    context.setLineDash(dash.map((part) => part * pixels));
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  };
  const x = u.valToPos(data.train, "x", true);
  line([[x, top], [x, top + height]], [5, 3]);
  context.fillText("training length", x + 5 * pixels, top + 13 * pixels);
  if (zero) {
    const y = u.valToPos(0, "y", true);
    line([[left, y], [left + width, y]], []);
  }
  if (floor?.every((value) => value != null)) {
    const points = floor.map((value, i) => [u.valToPos(data.lengths[i], "x", true), u.valToPos(value, "y", true)]);
    line(points, [1.5, 3]);
    context.fillText("bigram table", points[0][0], points[0][1] - 5 * pixels);
  }
  context.restore();
}
