// Static check that every regional resource is made by its region's provider. `terraform test` cannot
// see it: mocked providers have no region. Usage: node regions.mjs <infra/terraform>
//
// It reads blocks and arguments of `terraform fmt`ed files, not HCL in general; a form that it does not
// know is reported, not ignored.

import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

const root = process.argv[2];
const findings = [];

// Contains the resources that exist once (regions.tf); the first database is created there.
const home = 'us-east-1';
const aliases = readAliases();
checkRoot();
checkRegionCalls();
checkRegionMaps();
checkPeeringCalls();
for (const module of ['network', 'gateway', 'postgres', 'fleet', 'region']) checkSingleProvider(module);
checkPeeringModule();
checkNoLiteralRegion();

if (findings.length > 0) {
  for (const finding of findings) console.error(`regions: ${finding}`);
  process.exit(1);
}
console.log(`regions: ${aliases.size} provider aliases, every regional resource in its region`);

// Top-level blocks of a folder's files: {file, line, type, labels, body}.
function blocks(folder) {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.tf'))
    .flatMap((file) => fileBlocks(join(folder, file)));
}

function fileBlocks(path) {
  const found = [];
  const lines = readFileSync(path, 'utf8').split('\n');
  lines.forEach((line, index) => {
    const start = /^(\w+)((?: "[^"]*")*) \{$/.exec(line);
    if (!start) return;
    const end = lines.indexOf('}', index);
    found.push({
      file: basename(path),
      line: index + 1,
      type: start[1],
      labels: [...start[2].matchAll(/"([^"]*)"/g)].map((label) => label[1]),
      body: lines.slice(index + 1, end).join('\n'),
    });
  });
  return found;
}

// The value of a top-level argument of a block, either on one line or in braces.
function argument(block, name) {
  const braced = new RegExp(`^  ${name} += \\{\\n([\\s\\S]*?)^  \\}`, 'm').exec(block.body);
  if (braced) return braced[1].trim().replace(/\s*\n\s*/g, ', ');
  const inline = new RegExp(`^  ${name} += (.*)$`, 'm').exec(block.body);
  return inline ? inline[1].trim().replace(/^\{ (.*) \}$/, '$1') : undefined;
}

// `a = b, c = d` as a map.
function pairs(text) {
  return Object.fromEntries((text ?? '').split(',').filter(Boolean).map((pair) => pair.split('=').map((part) => part.trim())));
}

function expect(block, what, actual, wanted) {
  if (actual !== wanted) {
    findings.push(`${block.file}:${block.line}: ${block.type} ${block.labels.join('.')}: ${what} is ${actual}, should be ${wanted}`);
  }
}

function isMade(block) {
  return ['resource', 'data', 'ephemeral'].includes(block.type) && block.labels[0] !== 'terraform_data';
}

function readAliases() {
  const found = new Map();
  for (const block of blocks(root).filter((block) => block.type === 'provider')) {
    const alias = JSON.parse(argument(block, 'alias') ?? '"(none)"');
    const wanted = alias === 'secrets' ? 'us-east-1' : alias.replaceAll('_', '-');
    expect(block, 'region', argument(block, 'region'), `"${wanted}"`);
    found.set(alias, wanted);
  }
  return found;
}

// Everything that the root module creates itself is global or must be in us-east-1: CloudFront, its
// certificate and web ACL, Route 53 and the alarms on its metrics, the primary copies of the secrets.
function checkRoot() {
  for (const block of blocks(root).filter(isMade)) {
    expect(block, 'provider', argument(block, 'provider'), block.type === 'ephemeral' ? 'aws.secrets' : 'aws.us_east_1');
  }
  for (const block of blocks(root).filter((block) => argument(block, 'source') === '"./modules/stored_secret"')) {
    const providers = pairs(argument(block, 'providers'));
    expect(block, 'provider', providers.aws, 'aws.us_east_1');
    expect(block, 'ephemeral provider', providers['aws.secrets'], 'aws.secrets');
  }
}

function checkRegionCalls() {
  const calls = blocks(root).filter((block) => argument(block, 'source') === '"./modules/region"');
  const called = calls.map((call) => call.labels[0]).sort().join(' ');
  const wanted = [...aliases.keys()].filter((alias) => alias !== 'secrets').sort().join(' ');
  if (called !== wanted) findings.push(`regions.tf: calls for ${called}, provider aliases for ${wanted}`);
  for (const call of calls) {
    const alias = call.labels[0];
    const region = aliases.get(alias);
    const providers = pairs(argument(call, 'providers'));
    expect(call, 'provider', providers.aws, `aws.${alias}`);
    expect(call, 'create_after', argument(call, 'create_after'), region === home ? undefined : `module.${home.replaceAll('-', '_')}.database.arn`);
    expect(call, 'region', argument(call, 'region'), `"${region}"`);
    expect(call, 'settings', argument(call, 'settings'), `var.regions["${region}"]`);
    expect(call, 'secret_arns', argument(call, 'secret_arns'), `local.secret_arns["${region}"]`);
  }
}

// The maps that name every region: a missing or swapped line is a region without DNS, URL or secrets.
function checkRegionMaps() {
  const maps = { deployed: (alias) => `module.${alias}`, database_hosts: (alias) => `module.${alias}.database.host`, replica_keys: (alias) => `module.${alias}.kms_key_arn` };
  for (const [name, value] of Object.entries(maps)) {
    const locals = blocks(root).find((block) => block.type === 'locals' && argument(block, name));
    if (!locals) {
      findings.push(`no local.${name}`);
      continue;
    }
    const map = pairs(argument(locals, name).replace(/, $/, ''));
    for (const [alias, region] of aliases) {
      const wanted = name === 'replica_keys' && region === home ? undefined : value(alias);
      if (alias !== 'secrets') expect(locals, `${name}["${region}"]`, map[region], wanted);
    }
  }
}

// A full mesh: every pair of regions once, each end with its own provider and network.
function checkPeeringCalls() {
  const made = [];
  for (const call of blocks(root).filter((block) => argument(block, 'source') === '"./modules/peering"')) {
    const providers = pairs(argument(call, 'providers'));
    const requester = providers['aws.requester']?.slice('aws.'.length);
    const accepter = providers['aws.accepter']?.slice('aws.'.length);
    expect(call, 'requester', argument(call, 'requester'), `module.${requester}.network`);
    expect(call, 'accepter', argument(call, 'accepter'), `module.${accepter}.network`);
    made.push([requester, accepter].sort().join(' and '));
  }
  const regions = [...aliases.keys()].filter((alias) => alias !== 'secrets').sort();
  const wanted = regions.flatMap((a, i) => regions.slice(i + 1).map((b) => `${a} and ${b}`));
  for (const pair of wanted) {
    const times = made.filter((one) => one === pair).length;
    if (times !== 1) findings.push(`peering.tf: ${pair} are connected ${times} times, should be once`);
  }
  for (const pair of made.filter((one) => !wanted.includes(one))) findings.push(`peering.tf: ${pair} are no two regions`);
}

// Modules with one region work with the provider they are given, so no resource may name another.
function checkSingleProvider(name) {
  for (const block of blocks(join(root, 'modules', name))) {
    if (isMade(block)) expect(block, 'provider', argument(block, 'provider'), undefined);
    if (block.type !== 'module') continue;
    const providers = pairs(argument(block, 'providers'));
    expect(block, 'providers', Object.keys(providers).join(' '), '');
  }
}

function checkPeeringModule() {
  for (const block of blocks(join(root, 'modules', 'peering')).filter(isMade)) {
    const accepts = block.labels[0].endsWith('_accepter') || block.labels[1] === 'accepter';
    expect(block, 'provider', argument(block, 'provider'), accepts ? 'aws.accepter' : 'aws.requester');
  }
}

function checkNoLiteralRegion() {
  for (const name of readdirSync(join(root, 'modules'))) {
    for (const block of blocks(join(root, 'modules', name))) {
      const literal = /"[^"\n]*\b[a-z]{2}-[a-z]+-\d\b[^"\n]*"/.exec(block.body);
      if (literal) findings.push(`modules/${name}/${block.file}:${block.line}: names a region: ${literal[0]}`);
    }
  }
}
