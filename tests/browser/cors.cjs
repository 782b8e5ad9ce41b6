// Pages of two origins read a gateway's answers: one is listed in the `cors` of the row, the other is not.
"use strict";

const { assert, run } = require("./kit.cjs");
const http = require("node:http");

run(async (browser) => {
  const { GATEWAY, PORT } = process.env;
  const server = http.createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<p>page</p>"));
  await new Promise((resolve) => server.listen(Number(PORT), "127.0.0.1", resolve));
  try {
    const from = async (origin, path, headers = {}) => {
      const page = await browser.newPage();
      await page.goto(origin);
      const read = await page.evaluate(
        async ([url, headers]) => {
          try {
            const answer = await fetch(url, { headers });
            const text = await answer.text();
            return { status: answer.status, text, served: answer.headers.get("x-consistency-token") };
          } catch (error) {
            return { refused: error.name };
          }
        },
        [GATEWAY + path, headers],
      );
      await page.close();
      return read;
    };
    const [allowed, refused] = [`http://localhost:${PORT}/`, `http://127.0.0.1:${PORT}/`];
    const [rates, strong] = ["/api/v1/rates/EUR/USD", { "x-consistency": "strong" }];
    // Without and with a preflight.
    for (const headers of [{}, strong]) {
      const read = await from(allowed, rates, headers);
      assert.equal(read.status, 200, JSON.stringify(read));
      assert.match(read.text, /EUR/);
      assert.deepEqual(await from(refused, rates, headers), { refused: "TypeError" });
    }
    // What went wrong can be read too: the gateway's own answers have the row's fields.
    const invalid = await from(allowed, rates, { "x-consistency": "sometimes" });
    assert.equal(invalid.status, 400);
    assert.match(invalid.text, /invalid-consistency/);
    const unknown = await from(allowed, "/api/v1/rates/EUR");
    assert.equal(unknown.status, 404);
    // A field that the row does not list does not get past the preflight.
    assert.deepEqual(await from(allowed, rates, { "x-other": "1" }), { refused: "TypeError" });
  } finally {
    server.close();
  }
});
