// What the browser tests share: a browser, and a conversation with the test that started this script, which
// breaks things on demand: one line asks for a step, one line says that it is done.
"use strict";

const { chromium } = require("playwright-core");
const readline = require("node:readline");

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

exports.ask = async (step) => {
  console.log(step);
  const { value, done } = await answers.next();
  if (done || value !== "done") throw new Error(`${step}: ${value}`);
};

exports.assert = require("node:assert/strict");

exports.run = async (test) => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu"],
  });
  try {
    await test(browser);
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await browser.close();
    process.stdin.destroy();
  }
};
