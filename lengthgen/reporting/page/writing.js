"use strict";
// Elements, numbers and colours, as the other scripts write them.

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function make(tag, properties = {}, ...children) {
  const { attributes = {}, ...rest } = properties;
  const node = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function written(value, signed) {
  const size = Math.abs(value);
  let text = size >= 1e4 ? value.toExponential(1) : value.toFixed(size >= 100 ? 1 : size && size < 0.002 ? 4 : 3);
  if (!Number(text)) text = text.replace("-", "");
  return (signed && value > 0 && Number(text) ? "+" : "") + text.replace("-", "−");
}

// As many decimals as the step between ticks has.
function tick(value, step) {
  if (value == null) return "";
  const decimals = step ? (String(+step.toPrecision(6)).split(".")[1] || "").length : 0;
  const text = step ? value.toFixed(decimals) : String(+value.toPrecision(6));
  return text.replace("-", "−");
}
