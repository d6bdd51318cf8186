"use strict";
// What the page does beside its HTML: theme, filter, charts, decisions, and staying up to date.

const EVERY = 2000;
const root = document.documentElement;

function isDark() {
  const chosen = root.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* kept for this page only */ }
  drawAll(true);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(true));

// Filter

function filter() {
  const input = document.querySelector("[data-filter]");
  if (!input) return;
  const wanted = input.value.trim().toLowerCase();
  for (const row of document.querySelectorAll(`${input.dataset.filter} tbody tr`)) {
    row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
  }
}
document.addEventListener("input", (event) => { if (event.target.matches("[data-filter]")) filter(); });

// Charts

const drawn = new Map();

function colour(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }

function style(line, i) {
  const kinds = {
    mean: { stroke: colour("--accent"), width: 2 },
    limit: { stroke: colour("--dim"), width: 1.25, dash: [5, 4] },
    open: { stroke: colour("--accent"), width: 1.5, dash: [2, 3] },
    band: { stroke: colour("--line-2"), width: 1 },
    one: { stroke: colour(`--line-${1 + (i % 3)}`), width: 1.25 },
    step: { stroke: colour("--accent"), width: 2, paths: uPlot.paths.stepped({ align: 1 }) },
  };
  return kinds[line.kind] || kinds.one;
}

function shown(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

function utc(seconds) { return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " "); }

function hours(u, ticks, axis, space, step) {
  let day = "";
  return ticks.map((at) => {
    const [date, time] = utc(at).split(" ");
    const said = date === day ? "" : `${Number(date.slice(8))} ${MONTHS[Number(date.slice(5, 7)) - 1]}`;
    day = date;
    return step >= 86400 ? said : said ? `${time}\n${said}` : time;
  });
}
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// As wide as the longest label of the axis, so that none is cut.
function wide(u, labels, axis) {
  if (!labels) return 40;
  u.ctx.font = u.axes[axis].font[0];
  return Math.ceil(Math.max(...labels.map((label) => u.ctx.measureText(label).width), 10) / devicePixelRatio) + 16;
}

function draw(figure, again) {
  const text = figure.dataset.chart;
  const plot = figure.querySelector(".plot");
  const width = Math.max(plot.clientWidth, 200);
  const known = drawn.get(figure);
  if (known && !again && known.text === text && known.width === width) return;
  const data = JSON.parse(text);
  if (known) known.plot.destroy();
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const spread = data.x.length > 30 ? { show: false } : { show: true, size: 4 };
  const chart = new uPlot({
    width, height: 210, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
    cursor: { points: { size: 6 } },
    legend: { live: true },
    bands: data.lines.flatMap((line, i) => line.kind === "band" && data.lines[i + 1]?.kind === "band" ? [{ series: [i + 2, i + 1], fill: colour("--band") }] : []),
    scales: { y: { range: (u, low, high) => { if (data.range) return data.range; const room = (high - low || Math.abs(high) || 1) * 0.08; return [low >= 0 ? Math.max(low - room, 0) : low - room, high + room]; } } },
    axes: [{ ...axis, values: hours }, { ...axis, size: wide, values: (u, ticks) => ticks.map(shown) }],
    series: [{ label: "UTC", value: (u, at) => at === null ? "–" : utc(at) },
      ...data.lines.map((line, i) => ({ label: line.label, spanGaps: false, points: line.kind === "limit" || line.kind === "band" ? { show: false } : spread, value: (u, v) => shown(v), ...style(line, i) }))],
  }, [data.x, ...data.lines.map((line) => line.y)], plot);
  drawn.set(figure, { plot: chart, text, width });
  table(figure, data);
}

function table(figure, data) {
  const place = figure.querySelector("details.table .scroll");
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const name of ["UTC", ...data.lines.map((line) => line.label)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const body = made.createTBody();
  for (let i = data.x.length - 1; i >= 0; i--) {
    const row = body.insertRow();
    for (const value of [utc(data.x[i]), ...data.lines.map((line) => shown(line.y[i]))]) row.insertCell().textContent = value;
  }
  place.replaceChildren(made);
}

function drawAll(again) {
  if (typeof uPlot === "undefined") return;
  for (const figure of [...drawn.keys()]) {
    if (!figure.isConnected) { drawn.get(figure).plot.destroy(); drawn.delete(figure); }
  }
  for (const figure of document.querySelectorAll("figure[data-chart]")) draw(figure, again);
}
let resizing = 0;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => drawAll(false), 100); });

// Decisions

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.act");
  if (!form) return;
  event.preventDefault();
  const body = JSON.parse(form.dataset.body);
  for (const field of form.querySelectorAll("[data-field]")) body[field.dataset.field] = field.value;
  const token = form.querySelector("input[type=password]").value;
  const tell = (text, refused) => {
    const told = (form.isConnected ? form : document.getElementById(form.id) || form).querySelector("output");
    told.textContent = text;
    told.classList.toggle("refused", refused);
  };
  tell("…", false);
  try {
    const answer = await fetch(event.submitter.value, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
    const said = await answer.json();
    tell(said.done || said.error, !answer.ok);
    if (answer.ok) update();
  } catch { tell("The service does not answer.", true); }
});

// Staying up to date

let mark = null;
let asking = false;

function busy() {
  const active = document.activeElement;
  const typing = active && active.matches("form.act input");
  const selected = getSelection();
  return document.hidden || typing || (selected && !selected.isCollapsed);
}

function swap(text) {
  const next = new DOMParser().parseFromString(text, "text/html").getElementById("swap");
  const now = document.getElementById("swap");
  if (!next || !now || next.isEqualNode(now)) return;
  const open = [...now.querySelectorAll("details[open][id]")].map((one) => one.id);
  const focused = document.activeElement && now.contains(document.activeElement) ? path(document.activeElement, now) : null;
  const scrolled = [...now.querySelectorAll(".scroll")].map((one) => [one.scrollLeft, one.scrollTop]);
  for (const figure of next.querySelectorAll("figure[data-chart]")) {
    const before = now.querySelector(`#${CSS.escape(figure.id)}`);
    if (before) { before.dataset.chart = figure.dataset.chart; figure.replaceWith(before); }
  }
  for (const form of next.querySelectorAll("form.act")) keep(now.querySelector(`#${CSS.escape(form.id)}`), form);
  now.replaceChildren(...next.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  now.querySelectorAll(".scroll").forEach((one, i) => { if (scrolled[i]) [one.scrollLeft, one.scrollTop] = scrolled[i]; });
  if (focused) find(focused, now)?.focus({ preventScroll: true });
  filter();
  drawAll(false);
}

// What was typed into a form, and what it was answered, outlives the page around it.
function keep(before, form) {
  if (!before) return;
  if (before.dataset.key === form.dataset.key && before.dataset.body === form.dataset.body) { form.replaceWith(before); return; }
  for (const input of form.querySelectorAll("input")) input.value = before.querySelector(`#${CSS.escape(input.id)}`)?.value ?? "";
  const [told, was] = [form.querySelector("output"), before.querySelector("output")];
  told.textContent = was.textContent;
  told.className = was.className;
}

// A link keeps the focus by where it leads, for rows may change places.
function path(element, within) {
  const href = element.getAttribute("href");
  const same = href ? [...within.querySelectorAll("a")].filter((one) => one.getAttribute("href") === href) : [];
  return { href, at: same.indexOf(element), id: element.id };
}
function find(where, within) {
  if (where.id) return document.getElementById(where.id);
  if (!where.href) return null;
  return [...within.querySelectorAll("a")].filter((one) => one.getAttribute("href") === where.href)[where.at];
}

async function update() {
  if (asking || busy()) return;
  asking = true;
  const live = document.getElementById("live");
  try {
    const answer = await fetch(location.href, { headers: mark ? { "If-None-Match": mark } : {}, cache: "no-store", redirect: "error" });
    mark = answer.headers.get("ETag") || mark;
    if (answer.status === 200) swap(await answer.text());
    const word = answer.ok || answer.status === 304 ? "Live" : "Not up to date";
    if (live.textContent !== word) live.textContent = word;
    live.classList.toggle("off", word !== "Live");
  } catch {
    if (live.textContent !== "No answer") live.textContent = "No answer";
    live.classList.add("off");
  } finally { asking = false; }
}

drawAll(false);
if (document.querySelector("form.login") === null) { setInterval(update, EVERY); update(); }
