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
  return new Map(Array.from(nodes, (node) => [node.dataset.node, node.dataset.condition]));
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("live");
  if (!fresh) return;
  const before = conditions();
  const focused = document.activeElement;
  become(document.getElementById("live"), fresh);
  if (focused && focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  title();
  const after = conditions();
  const changes = [];
  for (const [node, condition] of after) {
    if (before.has(node) && before.get(node) !== condition) changes.push(`${node} is ${condition}`);
  }
  for (const node of before.keys()) if (!after.has(node)) changes.push(`${node} is gone`);
  if (changes.length) news.textContent = changes.join(", ");
}

function title() {
  const verdict = document.getElementById("live").dataset.verdict;
  document.title = `${SIGNS[verdict] ?? ""} ${region} · Tidegate`;
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

// The child of `old`, not before `at`, that stands for `child`: the one with its id, else the next one if it is alike.
function match(old, at, child) {
  if (child.id) {
    for (let it = at; it; it = it.nextSibling) if (it.id === child.id) return it;
    return null;
  }
  return at && !at.id && at.nodeName === child.nodeName ? at : null;
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
  events.onerror = lost;
}

function lost() {
  link.textContent = "The connection to the gateway is lost; what is shown is old";
  link.hidden = false;
  main.classList.add("stale");
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

const ask = document.getElementById("ask");

const EFFECTS = {
  drain: (name) => `Requests go to other nodes; ${name} is asked only if no other node can answer. This gateway alone is affected, until it ends or the node is undrained.`,
  undrain: (name) => `${name} gets requests again by its place in the order.`,
  purge: () => "Every stored answer of this gateway is forgotten; the next request for each is made anew.",
};

if (ask) {
  const part = (name) => document.getElementById(`ask-${name}`);
  const [cancel, form, token] = [part("cancel"), ask.querySelector("form"), ask.querySelector("[name=token]")];
  const needsToken = document.body.dataset.token === "needed";
  part("token").hidden = !needsToken;
  let path;

  main.addEventListener("click", ({ target }) => {
    const button = target.closest("button[data-post]");
    if (!button) return;
    path = button.dataset.post;
    const action = path.split("?")[0].split("/").pop();
    part("title").textContent = `${button.textContent}?`;
    part("effect").textContent = EFFECTS[action](button.dataset.name);
    part("do").textContent = button.textContent;
    part("problem").textContent = "";
    ask.showModal();
    cancel.focus();
  });
  cancel.addEventListener("click", () => ask.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const headers = token.value ? { authorization: `Bearer ${token.value}` } : {};
    try {
      const answer = await fetch(path, { method: "POST", headers });
      if (answer.ok) {
        ask.close();
        news.textContent = `Done: ${part("do").textContent}`;
      } else {
        const problem = await answer.json();
        part("problem").textContent = `${problem.status}: ${problem.detail ?? problem.title}`;
      }
    } catch {
      part("problem").textContent = "The gateway did not answer; nothing is known of the outcome.";
    }
  });
}

title();
listen();
