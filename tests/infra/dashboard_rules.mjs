// Prints the expressions of a Grafana dashboard as recording rules, which promtool can check.
//
//   node dashboard_rules.mjs DASHBOARD.json

import { readFileSync } from "node:fs";

const { panels } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const rules = panels.flatMap(({ id, targets }) =>
  targets.map(({ refId, expr }) => ({
    record: `panel_${id}:${refId}`,
    // Grafana's own variable, which PromQL does not know.
    expr: expr.replaceAll("$__rate_interval", "5m"),
  })),
);
// YAML contains JSON.
console.log(JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
