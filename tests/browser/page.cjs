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
  // With the longest list of what is wrong, beside a map; measured before the next frame comes.
  const worst = await wall.evaluate(() => {
    const live = document.getElementById("live").cloneNode(true);
    const concern =
      '<li class="attention">The region ap-southeast-1 has left by the traffic policy: requests for this region go elsewhere. ' +
      "<em>Look at that region's errors, p99, lag and saturation below.</em></li>";
    live.querySelector(".verdict").innerHTML =
      `<h2>Serving, but look at this</h2><ul>${concern.repeat(5)}<li>and 3 more</li></ul>`;
    const map = '<svg class="map" viewBox="0 0 720 300" aria-hidden="true"></svg>';
    if (!live.querySelector(".map")) live.querySelector(".where h2").insertAdjacentHTML("afterend", map);
    show(live.outerHTML);
    const bottoms = Array.from(document.querySelectorAll("section"), (it) => it.getBoundingClientRect().bottom);
    return [document.querySelectorAll(".verdict li").length, Math.max(...bottoms)];
  });
  assert.equal(worst[0], 6);
  assert.ok(worst[1] <= 1080, `${worst[1]}`);
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
