// Keeps an open page true: takes the parts that have changed from the daemon, and puts them where they belong.
"use strict";

const MOST_TIMES = 40;
const RETRY_MS = 10000;
const WORDS = ["real server", "verdict", "weight", "since", "probe", "reason"];

const live = document.getElementById("live");
const services = document.getElementById("services");
const times = new Map();

function element(html, parent) {
  const template = document.createElement("template");
  template.innerHTML = parent === "tbody" ? `<table><tbody>${html}</tbody></table>` : html;
  return template.content.querySelector(parent === "tbody" ? "tr" : "*");
}

function newSection(id, heading) {
  const section = document.createElement("section");
  section.id = id;
  const cells = WORDS.map((word) => `<th scope="col">${word}</th>`).join("");
  section.innerHTML = `<h2></h2><table><thead><tr>${cells}</tr></thead><tbody></tbody></table>`;
  section.querySelector("h2").innerHTML = heading;
  return section;
}

function say(row, before) {
  const verdict = row.querySelector(".verdict").textContent;
  if (before && before.querySelector(".verdict").textContent !== verdict) {
    live.textContent = `${row.querySelector("th").textContent} is ${verdict}`;
  }
}

function putPart(id, html, fresh) {
  const old = document.getElementById(id);
  if (id === "top" || (old && old.tagName === "SECTION")) {
    (id === "top" ? old : old.querySelector("h2")).innerHTML = html;
  } else if (!html.startsWith("<tr")) {
    fresh.set(id, newSection(id, html));
  } else {
    const row = element(html, "tbody");
    row.id = id;
    say(row, old);
    if (!old) {
      fresh.set(id, row);
    } else {
      const isFocused = old.contains(document.activeElement);
      old.replaceWith(row);
      if (isFocused) row.querySelector("a").focus();
    }
    draw(row);
  }
}

function putOrder(order, fresh) {
  const find = (id) => fresh.get(id) || document.getElementById(id);
  const focused = document.activeElement;
  const sections = order.map(([id, rows]) => {
    const section = find(id);
    if (section) section.querySelector("tbody").replaceChildren(...rows.map(find).filter(Boolean));
    return section;
  }).filter(Boolean);
  services.replaceChildren(...sections);
  if (focused && focused !== document.activeElement && document.contains(focused)) focused.focus();
}

function draw(row) {
  const known = times.get(row.id);
  if (!known) return;
  const cell = row.querySelector(".time");
  cell.textContent = `${known[known.length - 1]} ms`;
  if (known.length < 2) return;
  const most = Math.max(...known) || 1;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${MOST_TIMES} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", known.map((ms, at) => `${at},${(10 - (9 * ms) / most).toFixed(1)}`).join(" "));
  line.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(line);
  cell.append(svg);
}

function putTimes(news) {
  for (const [id, ms] of news) {
    const known = times.get(id) || [];
    known.push(ms);
    if (known.length > MOST_TIMES) known.shift();
    times.set(id, known);
    const row = document.getElementById(id);
    if (row) draw(row);
  }
}

function take(message) {
  const news = JSON.parse(message.data);
  const fresh = new Map();
  for (const [id, html] of news.parts || []) putPart(id, html, fresh);
  if (news.order) putOrder(news.order, fresh);
  putTimes(news.times || []);
}

function listen() {
  const source = new EventSource(`events${location.search}`);
  source.onopen = () => { live.textContent = ""; };
  source.onmessage = take;
  source.onerror = () => {
    live.textContent = "No news from the daemon: what is shown here may be old.";
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), RETRY_MS);
  };
}

function step(by) {
  const links = [...services.querySelectorAll("tbody a")];
  const at = links.indexOf(document.activeElement);
  const next = links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))];
  if (next) next.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "search") return;
  const form = document.querySelector("form");
  if (event.key === "/") form.q.focus();
  else if (event.key === "b") { form.bad.checked = !form.bad.checked; form.submit(); }
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else return;
  event.preventDefault();
});

listen();
