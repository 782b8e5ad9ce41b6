// The admin page in a browser, while a replica is paused and killed behind it.
"use strict";

const { ask, assert, run } = require("./kit.cjs");
const fs = require("node:fs");
const path = require("node:path");

const { ADMIN, SEEN, SHOTS, TOKEN } = process.env;
const NODE = '[data-node="eu-west-1"]';
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// How long after the fault the page shows it.
const shown = async (page, what, test) => {
  const begun = Date.now();
  await page.waitForFunction(test, null, { polling: 20, timeout: 10_000 });
  const took = Date.now() - begun;
  console.error(`${what} is on the page after ${took} ms`);
  return took;
};

const condition = (page, wanted) =>
  page.waitForFunction(([node, wanted]) => document.querySelector(node)?.dataset.condition === wanted, [NODE, wanted]);

const shoot = (page, name, options = {}) => page.screenshot({ path: path.join(SHOTS, `${name}.png`), ...options });

async function well(page, seen) {
  await page.goto(`${ADMIN}/`);
  await condition(page, "fresh");
  // Rates are there.
  await page.waitForSelector('[data-level="eventual"]');
  assert.match(await page.title(), /^● eu-west-1 · Tidegate$/);
  assert.equal(await page.locator("h1").count(), 1);
  assert.equal(await page.textContent(".verdict h2"), "All is well");
  assert.equal(await page.getAttribute("[data-region]", "data-state"), "well");
  const row = await page.locator(NODE).evaluate((it) => ({ ...it.dataset }));
  assert.equal(row.standing, "trusted");
  assert.ok(row.lag !== "" && row.staleness !== "" && Number(row.lag) < 1 && Number(row.staleness) < 2, JSON.stringify(row));
  assert.ok((await page.textContent(`${NODE} .why`)).includes("placed by latency"));
  assert.ok(seen.length <= 12, seen.join());
  assert.ok(seen.every((it) => it.startsWith(ADMIN)), seen.join());
  // A frame's escaped text stays text in the page, and the next frame takes its place.
  const marked = await page.evaluate(() => {
    show('<div id="live" data-verdict="well"><b>&lt;img src=x onerror=alert(1)&gt;</b></div>');
    return [document.querySelectorAll("main img").length, document.getElementById("live").textContent];
  });
  assert.deepEqual(marked, [0, "<img src=x onerror=alert(1)>"]);
  await condition(page, "fresh");
}

async function accessible(page) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => axe.run());
    const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    assert.deepEqual(grave.map(({ id, nodes }) => [id, nodes[0].html, nodes[0].failureSummary]), [], colorScheme);
    await shoot(page, `page-${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
}

async function faults(page) {
  await ask("pause");
  const paused = await shown(page, "a paused replica", () =>
    Number(document.querySelector('[data-node="eu-west-1"]').dataset.lag) > 0.3);
  assert.ok(paused <= 1250, `${paused} ms`);
  await ask("resume");
  await page.waitForFunction(() => Number(document.querySelector('[data-node="eu-west-1"]').dataset.lag) < 0.3);
  await ask("kill");
  const killed = await shown(page, "a killed replica", () =>
    document.querySelector('[data-node="eu-west-1"]').dataset.condition === "unreachable");
  assert.ok(killed <= 1250, `${killed} ms`);
  await page.waitForFunction(() => document.querySelector("[role=status]").textContent.includes("eu-west-1 is unreachable"));
  assert.equal(await page.textContent(".verdict h2"), "Serving, but look at this");
  assert.ok((await page.textContent(".verdict li")).includes("eu-west-1 does not answer"));
  await page.waitForFunction(() => document.title.startsWith("▲"));
  await shoot(page, "page-replica-lost");
  await ask("start");
  await condition(page, "fresh");
}

async function keyboard(page) {
  const focus = () => page.evaluate(() => document.activeElement.textContent);
  for (let presses = 0; (await focus()) !== "Drain eu-west-1"; presses += 1) {
    assert.ok(presses < 30, "the button cannot be reached with Tab");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  assert.equal(await focus(), "Cancel");
  assert.equal(await page.textContent("dialog h2"), "Drain eu-west-1?");
  assert.ok((await page.textContent("#ask-effect")).includes("eu-west-1 serves nothing"));
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("dialog[open]").count(), 0);
  assert.equal(await focus(), "Drain eu-west-1");
  // Frames have come meanwhile; the focus has stayed.
  await page.waitForTimeout(600);
  assert.equal(await focus(), "Drain eu-west-1");
  await page.keyboard.press("Enter");
  await page.fill("dialog input[type=password]", "wrong");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("ask-problem").textContent.startsWith("401"));
  await page.fill("dialog input[type=password]", TOKEN);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => !document.querySelector("dialog[open]"));
  await page.waitForSelector(`${NODE}[data-standing=drained]`);
  await page.click("text=Undrain eu-west-1");
  await page.click("#ask-do");
  await page.waitForSelector(`${NODE}[data-standing=trusted]`);
  const stored = await page.evaluate(() => localStorage.length + sessionStorage.length + document.cookie.length);
  assert.equal(stored, 0);
}

async function search(page) {
  const before = await page.evaluate(() => fetch("/admin/requests/never-seen").then((it) => it.status));
  assert.equal(before, 404);
  const input = page.locator("input[type=search]");
  await input.fill("never-seen");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("found").textContent.includes("not found"));
  await input.fill(SEEN);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("found").textContent.includes("/api/v1/rates/{base}/{quote}"));
  const shown = await page.locator("#found dl").innerText();
  for (const part of ["request_id", SEEN, "200", "strong", "primary"]) assert.ok(shown.includes(part), shown);
  // What is asked for stays text.
  await input.fill("<img src=x>");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("found").textContent.includes("<img src=x>"));
  assert.equal(await page.locator("#found img").count(), 0);
}

async function lost(page) {
  await ask("freeze");
  const said = await shown(page, "a lost connection", () => !document.getElementById("link").hidden);
  assert.ok(said <= 2000, `${said} ms`);
  await ask("thaw");
  await page.waitForFunction(() => document.getElementById("link").hidden);
}

// Shows an ordinary installation with a fleet, an upstream and object storage, and a list of what is wrong; measured
// before the next frame comes.
function installed(concerns) {
  const live = document.getElementById("live").cloneNode(true);
  const [verdict, where, who, what] = ["verdict", "where", "who", "what"].map((it) => live.querySelector(`.${it}`));
  const concern =
    '<li class="attention">The region ap-southeast-1 has left by the traffic policy: requests for it go elsewhere. ' +
    "<em>Look at that region's errors, p99, lag and saturation below.</em></li>";
  const more = concerns > 5 ? "<li>and 3 more</li>" : "";
  const list = `<ul>${concern.repeat(Math.min(concerns, 5))}${more}</ul>`;
  verdict.innerHTML = `<h2>Serving, but look at this</h2>${concerns ? list : "<p>Every node answers.</p>"}`;
  const region = (name) =>
    `<li data-region="${name}" data-state="well"><b>${name}</b> <span class="state">well</span>` +
    "<small>183 ms away, 120/s sent, 1 % errors, p99 412 ms, lag 85 ms</small></li>";
  where.innerHTML =
    '<h2>Regions</h2><svg class="map" viewBox="0 0 720 300" aria-hidden="true"></svg>' +
    `<ul class="regions">${["eu-west-1", "us-east-1", "ap-southeast-1"].map(region).join("")}</ul>`;
  const why = "it has failed too many requests in a row; it is asked again when its probe is due; placed by latency";
  const table = (kind, columns, rows) => `<table class="${kind}"><caption>${kind}</caption><thead><tr>` +
    `${"<th>Column</th>".repeat(columns)}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  const node = (name) =>
    `<tr data-node="${name}" data-role="replica"><th>${name}<small>replica, eu-west-1</small></th><td><span class="state">unreachable` +
    "</span><small>probe-due</small></td><td>2 min 5 s</td><td>≤ 2 min 6 s</td><td>12 ms</td><td>8/8</td><td>1000/s</td>" +
    `<td class="why">${why}</td><td class="act"></td></tr>`;
  const application = (name) =>
    `<tr data-node="${name}" data-upstream="shop"><th>${name}<small>shop</small></th><td><span class="state">failed</span></td>` +
    `<td>12 ms</td><td>3</td><td class="why">${why}</td><td class="act"></td></tr>`;
  const bucket = (name) =>
    `<tr data-bucket="${name}"><th>${name}<small>aws</small></th><td><span class="state">ONLINE</span>, behind by 120, 7.0 s</td>` +
    "<td>31 ms</td><td>512.0 MiB of 1.0 GiB, 50 %</td><td>3.0 GiB</td></tr>";
  who.innerHTML = "<h2>Nodes</h2>" +
    table("nodes", 8, ["eu-west-1", "us-east-1", "ap-southeast-1"].map(node)) +
    table("upstreams", 5, ["10.0.0.1:8080", "10.0.0.2:8080"].map(application)) +
    table("buckets", 5, ["invoices-eu", "invoices-us"].map(bucket));
  const level = (name) =>
    `<tr data-level="${name}"><th>${name}</th><td>1000/s</td><td>97 %</td><td>1.2 ms</td><td>35 ms</td>` +
    '<td class="why">eu-west-1 (local-fresh) 900/s, us-east-1 (local-stale) 100/s, memory (cached) 12/s</td></tr>';
  const move = (name) =>
    `<tr class="moved"><th>${name}</th><td>eu-west-1</td><td>us-east-1</td><td>region-left</td><td>120/s</td></tr>`;
  what.innerHTML = "<h2>Traffic</h2>" +
    table("levels", 6, ["eventual", "bounded", "session", "strong"].map(level)) +
    table("moves", 5, ["/api/*", "/shop/*", "/documents/*", "/"].map(move));
  show(live.outerHTML);
  const bottoms = Array.from(document.querySelectorAll("section"), (it) => it.getBoundingClientRect().bottom);
  return {
    lines: document.querySelectorAll(".verdict li").length,
    bottom: Math.max(...bottoms, document.documentElement.scrollHeight),
    size: parseFloat(getComputedStyle(document.documentElement).fontSize),
  };
}

async function elsewhere(browser) {
  const narrow = await browser.newPage({ viewport: { width: 360, height: 740 }, reducedMotion: "reduce" });
  await narrow.goto(`${ADMIN}/`);
  await narrow.waitForSelector('[data-level="eventual"]');
  assert.ok((await narrow.evaluate(() => document.documentElement.scrollWidth)) <= 360);
  assert.equal(await narrow.evaluate(() => document.getAnimations().length), 0);
  await shoot(narrow, "page-narrow");
  await narrow.close();

  const plain = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
  await plain.goto(`${ADMIN}/`);
  const text = await plain.locator(NODE).innerText();
  for (const part of ["eu-west-1", "fresh", "ms", "placed by latency"]) assert.ok(text.includes(part), text);
  assert.equal(await plain.locator("button:visible").count(), 0);
  await plain.context().close();

  const wall = await browser.newPage({ viewport: { width: 1920, height: 1080 } });
  await wall.goto(`${ADMIN}/?wall`);
  await wall.waitForSelector('[data-level="eventual"]');
  assert.equal(await wall.locator("button:visible, input:visible").count(), 0);
  const below = await wall.evaluate(() => Math.max(...Array.from(document.querySelectorAll("section"), (it) => it.getBoundingClientRect().bottom)));
  assert.ok(below <= 1080, `${below}`);
  for (const concerns of [0, 1, 3, 6]) {
    const { lines, bottom, size } = await wall.evaluate(installed, concerns);
    assert.equal(lines, concerns);
    assert.ok(bottom <= 1080 && size >= 11, `${concerns}: ${bottom} at ${size} px`);
  }
  await wall.close();
}

run(async (browser) => {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  const [seen, errors] = [[], []];
  page.on("request", (request) => seen.push(request.url()));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  await well(page, seen);
  await accessible(page);
  // A policy that refuses inline styles and scripts refuses nothing that the page needs.
  assert.deepEqual(errors, []);
  await faults(page);
  await keyboard(page);
  await search(page);
  await lost(page);
  await elsewhere(browser);
});
