// A presigned URL, opened in the address bar: the object until it expires, and a refusal of another key.
"use strict";

const { assert, run } = require("./kit.cjs");

run(async (browser) => {
  const page = await browser.newPage();
  const opened = await page.goto(process.env.URL);
  assert.equal(opened.status(), 200);
  assert.equal(await page.textContent("body"), "bytes");
  const refused = await page.goto(process.env.URL.replace("/key", "/other"));
  assert.equal(refused.status(), 403);
  assert.match(await refused.text(), /SignatureDoesNotMatch/);
});
