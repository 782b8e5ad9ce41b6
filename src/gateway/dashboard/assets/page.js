// Keeps the page current: puts each frame of /admin/events in the place of the one before, and asks
// before anything is changed. A frame is made of escaped text by the gateway; nothing here makes markup.
"use strict";

document.documentElement.classList.add("scripted");

const link = document.getElementById("link");
const news = document.getElementById("news");
const main = document.querySelector("main");
const region = document.querySelector("h1").textContent;

/* Frames */

const SIGNS = { well: "●", attention: "▲", trouble: "■" };

function conditions() {
  const nodes = document.querySelectorAll("[data-node]");
  return new Map(Array.from(nodes, ({ dataset }) => [dataset.node, dataset.condition || dataset.standing]));
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("live");
  if (!fresh) return;
  buttons(fresh);
  const before = conditions();
  const focused = document.activeElement;
  become(document.getElementById("live"), fresh);
  fit();
  if (focused && focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  title();
  const after = conditions();
  const changes = [];
  for (const [node, condition] of after) {
    if (before.has(node) && before.get(node) !== condition) changes.push(`${node} is ${condition}`);
  }
  // A frame that is cut leaves out nodes that are well.
  if (fresh.dataset.cut === undefined) {
    for (const node of before.keys()) if (!after.has(node)) changes.push(`${node} is gone`);
  }
  if (changes.length) news.textContent = changes.join(", ");
}

function title() {
  const verdict = document.getElementById("live").dataset.verdict;
  document.title = `${SIGNS[verdict] ?? ""} ${region} · Tidegate`;
}

// On a wall, makes everything smaller until it is all on the screen, and larger again only when rows come or go:
// numbers that become longer and shorter shall not make it flicker.
const SMALLEST = 5;
let rows;

function fit() {
  if (!document.body.classList.contains("wall")) return;
  const root = document.documentElement;
  const count = document.querySelectorAll("#live :is(li, tr)").length;
  let size = count === rows ? Number(root.dataset.fit) : 0;
  rows = count;
  root.dataset.fit = size;
  while (size < SMALLEST && root.scrollHeight > window.innerHeight) {
    size += 1;
    root.dataset.fit = size;
  }
}

window.addEventListener("resize", () => {
  rows = undefined;
  fit();
});

// Adds to each node's row the button that drains it. A name that is cut would stand for another node.
function buttons(live) {
  for (const { dataset, lastElementChild } of live.querySelectorAll("tr[data-node]")) {
    const { node, upstream, role, standing } = dataset;
    if (`${node}${upstream}`.includes("…")) continue;
    const verb = standing === "drained" ? "Undrain" : "Drain";
    const path = upstream === undefined ? "/admin/nodes" : `/admin/upstreams/${encodeURIComponent(upstream)}/nodes`;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.post = `${path}/${encodeURIComponent(node)}/${verb.toLowerCase()}`;
    button.dataset.name = node;
    button.dataset.role = role;
    button.textContent = `${verb} ${node}`;
    lastElementChild.replaceChildren(button);
  }
}

// Makes an element equal to another, and touches only what differs: focus and selection stay.
function become(old, fresh) {
  for (const { name } of Array.from(old.attributes)) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of Array.from(fresh.attributes)) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  let at = old.firstChild;
  for (const child of Array.from(fresh.childNodes)) {
    const same = match(old, at, child);
    if (!same) {
      old.insertBefore(document.importNode(child, true), at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    if (same.nodeType === Node.ELEMENT_NODE) become(same, child);
    else if (same.nodeValue !== child.nodeValue) same.nodeValue = child.nodeValue;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// What an element stands for, if it says so.
function key({ dataset }) {
  const about = dataset && [dataset.region, dataset.upstream, dataset.node, dataset.level];
  return about?.some((it) => it !== undefined) ? about.join(" ") : "";
}

// The child of `old`, not before `at`, that stands for `child`: the one about the same, else the next one if it is alike.
function match(old, at, child) {
  const wanted = key(child);
  if (wanted) {
    for (let it = at; it; it = it.nextSibling) if (key(it) === wanted) return it;
    return null;
  }
  return at && !key(at) && at.nodeName === child.nodeName ? at : null;
}

/* The connection */

const SILENCE_MAX_MS = 1500;
let events;
let heard;

function listen() {
  events?.close();
  heard = performance.now();
  events = new EventSource("/admin/events");
  events.onmessage = ({ data }) => {
    heard = performance.now();
    link.hidden = true;
    main.classList.remove("stale");
    show(data);
  };
  events.onerror = refused;
}

const LOST = "The connection to the gateway is lost; what is shown is old";

function lost(why = LOST) {
  // A reason that is known stands until a frame comes.
  if (link.hidden || why !== LOST) link.textContent = why;
  link.hidden = false;
  main.classList.add("stale");
}

// An EventSource does not say why it was refused.
async function refused() {
  lost();
  if (events.readyState !== EventSource.CLOSED) return;
  const ended = new AbortController();
  try {
    const { status } = await fetch("/admin/events", { signal: ended.signal });
    if (status === 503) lost("Too many viewers have this page open; what is shown is old");
  } catch {
    link.textContent = LOST;
  }
  ended.abort();
}

setInterval(() => {
  const silence = performance.now() - heard;
  if (silence > SILENCE_MAX_MS) lost();
  // Refused, or open without a word: begin again.
  if (silence > 2 * SILENCE_MAX_MS) listen();
}, 250);
// A page that was in the background has heard nothing because the browser has not let it.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) heard = performance.now();
});

/* Changes */

// Why a request was refused: the status, and the problem if the answer is one.
async function refusal(answer) {
  const { detail, title } = await answer.json().catch(() => ({}));
  return `${answer.status}: ${detail ?? title ?? "refused"}`;
}

const ask = document.getElementById("ask");

const DRAINED = {
  replica: (name) => `${name} serves nothing; requests go to other nodes.`,
  primary: (name) => `${name} serves only what no other node can answer, such as writes.`,
  upstream: (name) => `${name} gets no requests. Once every node of its upstream is drained, requests for it are answered with 503.`,
};

const EFFECTS = {
  drain: (name, role) => `${DRAINED[role](name)} This gateway alone is affected, until it ends or the node is undrained.`,
  undrain: (name) => `${name} gets requests again by its place in the order.`,
  purge: () => "Every stored answer of this gateway is forgotten; the next request for each is made anew.",
};

if (ask) {
  const part = (name) => document.getElementById(`ask-${name}`);
  const [cancel, form, token] = [part("cancel"), ask.querySelector("form"), ask.querySelector("[name=token]")];
  const needsToken = document.body.dataset.token === "needed";
  part("token").hidden = !needsToken;
  let path;
  // Counts dialogs: an answer that comes after its dialog was closed is not shown in another.
  let dialogs = 0;

  main.addEventListener("click", ({ target }) => {
    const button = target.closest("button[data-post]");
    if (!button) return;
    path = button.dataset.post;
    const action = path.split("?")[0].split("/").pop();
    part("title").textContent = `${button.textContent}?`;
    part("effect").textContent = EFFECTS[action](button.dataset.name, button.dataset.role);
    part("do").textContent = button.textContent;
    part("problem").textContent = "";
    part("do").disabled = false;
    ask.showModal();
    cancel.focus();
  });
  cancel.addEventListener("click", () => ask.close());
  ask.addEventListener("close", () => { dialogs += 1; });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (part("do").disabled) return;
    part("do").disabled = true;
    const [asked, what] = [dialogs, part("do").textContent];
    const headers = token.value ? { authorization: `Bearer ${token.value}` } : {};
    let problem = "";
    try {
      const answer = await fetch(path, { method: "POST", headers });
      if (answer.status === 401) part("token").hidden = false;
      if (!answer.ok) {
        problem = await refusal(answer);
      }
    } catch {
      problem = "The gateway did not answer; nothing is known of the outcome.";
    }
    if (problem === "" || asked !== dialogs) news.textContent = `${problem || "Done"}: ${what}`;
    if (asked !== dialogs) return;
    part("do").disabled = false;
    part("problem").textContent = problem;
    if (problem === "") ask.close();
  });
}

/* One request */

const search = document.getElementById("search");

if (search) {
  const found = document.getElementById("found");
  let asked = 0;

  const tell = (title, entries) => {
    const heading = document.createElement("h2");
    heading.textContent = title;
    const list = document.createElement("dl");
    for (const [name, value] of entries) {
      for (const [kind, text] of [["dt", name], ["dd", String(value)]]) {
        const part = document.createElement(kind);
        part.textContent = text;
        list.append(part);
      }
    }
    found.replaceChildren(heading, list);
    found.hidden = false;
  };

  search.addEventListener("submit", async (event) => {
    event.preventDefault();
    const id = search.elements.id.value.trim();
    found.hidden = true;
    asked += 1;
    const mine = asked;
    if (id === "") return;
    let title = `Request ${id}`;
    let entries = [];
    try {
      const answer = await fetch(`/admin/requests/${encodeURIComponent(id)}`);
      if (answer.ok) entries = Object.entries(await answer.json()).filter(([, value]) => value !== null);
      else if (answer.status === 404) title = `${title}: not found among the last requests of this gateway`;
      else title = `${title}: ${await refusal(answer)}`;
    } catch {
      title = `${title}: the gateway did not answer`;
    }
    // A newer question has taken its place.
    if (mine === asked) tell(title, entries);
  });
}

buttons(main);
fit();
title();
listen();
