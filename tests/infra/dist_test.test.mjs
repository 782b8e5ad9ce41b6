// dist-test.sh against small servers that behave as gateways should, or that each fail in one way.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, mkdtempSync, rmSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const script = new URL('../../dist-test.sh', import.meta.url).pathname;
const policy = JSON.parse(readFileSync(new URL('../../infra/edge-policy.json', import.meta.url), 'utf8')).rows;
const servers = [];
after(() => servers.forEach((server) => server.close()));

// A gateway that behaves correctly except for `change(answer, request, gateway)`.
async function gateway(region, change = () => {}) {
  const state = { region, cached: new Set(), seen: [], tokens: 0 };
  const server = createServer(async (request, response) => {
    const answer = respond(state, request);
    state.seen.push({ path: request.url, method: request.method, headers: request.headers });
    await change(answer, request, state);
    for (const [name, value] of Object.entries(answer.headers)) if (value === null) delete answer.headers[name];
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  return { state, port: server.address().port, url: `http://127.0.0.1:${server.address().port}` };
}

function rowOf(path) {
  const matches = ({ cdn_paths: paths }) => paths.some((p) => (p.endsWith('*') ? path.startsWith(p.slice(0, -1)) : p === path));
  return policy.find(matches);
}

function respond(state, request) {
  const level = request.headers['x-consistency'];
  const token = request.headers['x-consistency-token'];
  const answer = { status: 200, headers: { 'Content-Type': 'application/json', 'X-Request-Id': 'r-1', Date: null }, body: '{}' };
  const { headers } = answer;
  if (request.url === '/health/edge') {
    headers['Cache-Control'] = 'no-store';
    answer.body = `{"status":"healthy","region":"${state.region}","replication_lag_secs":0.012,"checks":{}}`;
    return answer;
  }
  const row = rowOf(request.url);
  const primary = !row?.cached || level === 'strong';
  const effective = level ?? (row?.cached ? 'eventual' : 'strong');
  headers['Consistency-Status'] = `${state.region}; level=${effective}; node=${primary ? 'primary' : 'replica'}; reason=fresh`;
  if (primary) headers['X-Route-Primary'] = 'true';
  if (level || token || !row?.cached) {
    headers['Cache-Control'] = 'no-store, private';
    headers['X-Consistency-Token'] = 'dG9rZW4';
    if (request.method === 'POST') answer.status = request.headers.authorization === 'Bearer the-token' ? 201 : 401;
    else if (!row?.cached) answer.status = 401;
    return answer;
  }
  headers['Cache-Control'] = row.cache_control;
  headers.Vary = 'X-Consistency, X-Consistency-Token';
  headers['Cache-Status'] = state.cached.has(request.url) ? 'tidegate; hit; ttl=299' : 'tidegate; fwd=miss; stored';
  state.cached.add(request.url);
  return answer;
}

function run(args, env = {}) {
  const child = spawn(script, args, { env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env } });
  const result = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (result.stdout += data));
  child.stderr.on('data', (data) => (result.stderr += data));
  return new Promise((resolve) => child.on('close', (code) => resolve({ ...result, code })));
}

const budget = ['-n', '5', '--budget-ms', '500'];

test('three good regions and an edge are green', async () => {
  const [us, eu, ap] = await Promise.all(['us-east-1', 'eu-west-1', 'ap-southeast-1'].map((region) => gateway(region)));
  const { code, stdout, stderr } = await run([...budget, us.url], {
    US_EAST_1_IP: `127.0.0.1:${us.port}`,
    EU_WEST_1_IP: `127.0.0.1:${eu.port}`,
    AP_SOUTHEAST_1_IP: `127.0.0.1:${ap.port}`,
  });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /all good/);
  assert.equal(stderr, '');
});

test('an answer that another region has given is told and no failure', async () => {
  const us = await gateway('us-east-1');
  const eu = await gateway('eu-west-1', (a) => {
    const status = a.headers['Consistency-Status'];
    const entry = 'eu-west-1; fwd=us-east-1; policy=everything; reason=left';
    if (status) a.headers['Consistency-Status'] = `${status.replace('eu-west-1', 'us-east-1')}, ${entry}`;
  });
  const { code, stdout } = await run([...budget, '--fleet', us.url], { EU_WEST_1_IP: `127.0.0.1:${eu.port}` });
  assert.equal(code, 0, stdout);
  assert.match(stdout, /eu-west-1, handed to us-east-1 \(left\)/);
  assert.match(stdout, /served by us-east-1, handed to us-east-1 \(left\)/);
  assert.match(stdout, /served by us-east-1\n/);
});

// Items of the header, as two regions and what is between write them: with and without a space, in two lines.
const joined = {
  'one line': (status, entry) => `${status}, ${entry}`,
  'one line without a space': (status, entry) => `${status},${entry}`,
  'two lines': (status, entry) => [status, entry],
};
for (const [how, join] of Object.entries(joined)) {
  test(`the last item names the region that was asked, in ${how}`, async () => {
    const eu = await gateway('eu-west-1', (a) => {
      const status = a.headers['Consistency-Status']?.replace('eu-west-1', 'us-east-1');
      if (status) a.headers['Consistency-Status'] = join(status, 'eu-west-1; fwd=us-east-1; policy=everything; reason=draining');
    });
    const us = await gateway('us-east-1');
    const { code, stdout } = await run([...budget, '--fleet', us.url], { EU_WEST_1_IP: `127.0.0.1:${eu.port}` });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /ok +fleet +served by us-east-1, handed to us-east-1 \(draining\)/);
  });
}

test('who serves is shown with --fleet alone, and a gateway that does not say is red under it', async () => {
  const us = await gateway('us-east-1', (a, r) => r.headers['x-consistency'] === 'eventual' && (a.headers['Consistency-Status'] = null));
  assert.doesNotMatch((await run([...budget, us.url])).stdout, /fleet/);
  const { code, stdout } = await run([...budget, '--fleet', us.url]);
  assert.equal(code, 1, stdout);
  assert.match(stdout, /FAILED in edge: fleet: Consistency-Status does not say who has served/);
});

// The failing line must name the check and the region.
const faults = {
  'drops Consistency-Status': ['headers', /missing Consistency-Status/, (a) => (a.headers['Consistency-Status'] = null)],
  'drops X-Request-Id': ['headers', /missing X-Request-Id/, (a) => (a.headers['X-Request-Id'] = null)],
  'drops Vary': ['headers', /missing Vary/, (a) => (a.headers.Vary = null)],
  'drops Cache-Control': ['cache-control /account/*', /Cache-Control is ""/, (a, r) => r.url.startsWith('/account') && (a.headers['Cache-Control'] = null)],
  'lets accounts be stored': ['cache-control /account/*', /"public, max-age=300/, (a, r) => r.url.startsWith('/account') && (a.headers['Cache-Control'] = 'public, max-age=300')],
  'drops X-Route-Primary': ['strong', /X-Route-Primary is ""/, (a) => (a.headers['X-Route-Primary'] = null)],
  'caches a strong answer': ['strong', /served from a cache/, (a, r) => r.headers['x-consistency'] && (a.headers['Cache-Status'] = 'tidegate; hit')],
  'caches a strong answer at the edge': ['strong', /served from a cache/, (a, r) => r.headers['x-consistency'] && (a.headers['X-Cache'] = 'Hit from cloudfront')],
  'serves an aged strong answer': ['strong', /Age of 7/, (a, r) => r.headers['x-consistency'] && (a.headers.Age = '7')],
  'serves strong from a replica': ['strong', /level=strong/, (a, r) => r.headers['x-consistency'] && (a.headers['Consistency-Status'] = 'eu-west-1; level=eventual')],
  'never hits': ['cache', /is no hit/, (a) => a.headers['Cache-Status'] && (a.headers['Cache-Status'] = 'tidegate; fwd=miss')],
  'says hit only in a key': ['cache', /is no hit/, (a) => a.headers['Cache-Status'] && (a.headers['Cache-Status'] = 'tidegate; fwd=miss; key="hits"')],
  'is slow': ['latency', /average [0-9.]+ ms, budget 30 ms/, () => new Promise((resolve) => setTimeout(resolve, 60))],
  'answers 500 now and then': ['latency', /not answered 200/, (a, r, s) => (s.count = (s.count ?? 0) + 1) % 3 === 0 && r.url === '/public/rates' && (a.status = 500)],
  'lies about its region in the probe': ['region', /us-east-1.*should be eu-west-1/, (a) => (a.body = a.body.replace('eu-west-1', 'us-east-1'))],
  'lies about its region in the header': ['region', /Consistency-Status says "us-east-1"/, (a) => a.headers['Consistency-Status'] && (a.headers['Consistency-Status'] = 'us-east-1; level=strong')],
  'hands on in the name of another region': ['region', /Consistency-Status says "us-east-1"/, (a) => a.headers['Consistency-Status'] && (a.headers['Consistency-Status'] = 'eu-west-1; level=strong, us-east-1; fwd=eu-west-1; reason=left')],
  'is unhealthy': ['health', /answers 503/, (a, r) => r.url === '/health/edge' && (a.status = 503)],
  'does not know its lag': ['health', /says/, (a) => (a.body = a.body.replace('0.012', 'null'))],
  'orders the probe otherwise': ['health', /first keys are region status/, (a) => (a.body = a.body.replace(/"status":"healthy",("region":"[^"]*"),/, '$1,"status":"healthy",'))],
  'lets the probe be stored': ['health', /should be no-store/, (a, r) => r.url === '/health/edge' && (a.headers['Cache-Control'] = 'public')],
  'sends a huge probe': ['health', /1024 at most/, (a) => (a.body = a.body.replace('"checks":{}', `"checks":{"x":"${'x'.repeat(1100)}"}`))],
};

for (const [fault, [check, detail, change]] of Object.entries(faults)) {
  test(`a gateway that ${fault} is red under ${check}`, async () => {
    const good = await gateway('us-east-1');
    const bad = await gateway('eu-west-1', change);
    const limits = fault === 'is slow' ? ['-n', '5'] : budget;
    const { code, stdout } = await run([...limits, good.url], { EU_WEST_1_IP: `127.0.0.1:${bad.port}` });
    const lines = stdout.split('\n').filter((line) => line.startsWith('FAILED in '));
    assert.equal(code, 1, stdout);
    assert.ok(lines.some((line) => line.startsWith(`FAILED in eu-west-1: ${check}: `) && detail.test(line)), stdout);
    assert.ok(lines.every((line) => line.startsWith('FAILED in eu-west-1: ')), stdout);
  });
}

const writing = { TOKEN: 'the-token' };

test('a write is read in the next region', async () => {
  const us = await gateway('us-east-1');
  const eu = await gateway('eu-west-1');
  const { code, stdout } = await run([...budget, '--write', us.url], { ...writing, EU_WEST_1_IP: `127.0.0.1:${eu.port}` });
  assert.equal(code, 0, stdout);
  const posts = us.state.seen.filter(({ method }) => method === 'POST');
  assert.deepEqual(posts.map(({ path }) => path), ['/api/v1/onramp']);
  assert.ok(eu.state.seen.some(({ headers }) => headers['x-consistency'] === 'session' && headers['x-consistency-token'] === 'dG9rZW4'));
});

test('a refused write is red', async () => {
  const us = await gateway('us-east-1');
  const { code, stdout } = await run([...budget, '--write', us.url], { TOKEN: 'another' });
  assert.equal(code, 1);
  assert.match(stdout, /FAILED in edge: token: POST \/api\/v1\/onramp answers 401/);
});

test('without --write nothing is written', async () => {
  const us = await gateway('us-east-1');
  await run([...budget, us.url], writing);
  assert.ok(us.state.seen.every(({ method }) => method === 'GET'));
});

test('the origin secret goes to regional addresses only', async () => {
  const edge = await gateway('us-east-1');
  const eu = await gateway('eu-west-1');
  await run([...budget, edge.url], { ORIGIN_SECRET: 's3"cr\\et', EU_WEST_1_IP: `127.0.0.1:${eu.port}` });
  assert.ok(edge.state.seen.every(({ headers }) => headers['x-origin-verify'] === undefined));
  assert.ok(eu.state.seen.length > 0 && eu.state.seen.every(({ headers }) => headers['x-origin-verify'] === 's3"cr\\et'));
});

test('a regional address is asked under the host of the base URL', async () => {
  const edge = await gateway('us-east-1');
  const eu = await gateway('eu-west-1');
  await run([...budget, edge.url], { EU_WEST_1_IP: `127.0.0.1:${eu.port}` });
  assert.ok(eu.state.seen.every(({ headers }) => headers.host === `127.0.0.1:${edge.port}`));
});

test('samples come over one warm connection', async () => {
  const slowToConnect = await gateway('us-east-1');
  let connections = 0;
  servers.at(-1).on('connection', () => (connections += 1));
  await run(['-n', '30', '--budget-ms', '500', slowToConnect.url]);
  assert.ok(connections < 30, `${connections} connections`);
});

test('no secret is in the arguments of any process', { skip: process.platform !== 'linux' }, async () => {
  const seen = new Set();
  const look = () => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        seen.add(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
      } catch {
        // it ended
      }
    }
  };
  const eu = await gateway('eu-west-1', look);
  await run([...budget, '--write', eu.url], { TOKEN: 'secret-token', ORIGIN_SECRET: 'secret-origin', EU_WEST_1_IP: `127.0.0.1:${eu.port}` });
  assert.ok([...seen].some((line) => line.includes('curl')), 'the looks must have met curl');
  assert.ok([...seen].every((line) => !line.includes('secret-')));
});

test('nothing a server sends reaches the terminal unescaped', async () => {
  const evil = '\x1b]0;owned\x07\x1b[31m';
  const server = await gateway('us-east-1', (answer) => {
    answer.body = `{"status":"${evil}"`;
    answer.headers['Cache-Control'] = 'public, "quoted", <b>&\u00e9';
  });
  for (const format of [[], ['--json']]) {
    const { code, stdout, stderr } = await run([...budget, ...format, server.url]);
    assert.equal(code, 1);
    assert.match(stdout, /^[\n -~]*$/);
    assert.match(stderr, /^[\n -~]*$/);
    if (format.length) JSON.parse(stdout);
  }
});

test('--json has the documented form', async () => {
  const us = await gateway('us-east-1');
  const { stdout } = await run([...budget, '--json', us.url]);
  const report = JSON.parse(stdout);
  assert.deepEqual(Object.keys(report), ['base_url', 'ok', 'regions']);
  assert.deepEqual(Object.keys(report.regions[0]), ['region', 'url', 'ok', 'avg_ms', 'p50_ms', 'p95_ms', 'p99_ms', 'checks']);
  assert.deepEqual([report.base_url, report.ok, report.regions[0].region], [us.url, true, 'edge']);
  for (const check of report.regions[0].checks) assert.deepEqual(Object.keys(check), ['name', 'ok', 'detail']);
  const [region] = report.regions;
  assert.ok(region.p50_ms <= region.p95_ms && region.p95_ms <= region.p99_ms && region.avg_ms > 0);
});

test('--junit writes a report with the failure in it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dist-test-'));
  const bad = await gateway('us-east-1', (answer) => (answer.headers['X-Route-Primary'] = '<&">'));
  const { code } = await run([...budget, '--junit', join(folder, 'report.xml'), bad.url]);
  const report = readFileSync(join(folder, 'report.xml'), 'utf8');
  rmSync(folder, { recursive: true });
  assert.equal(code, 1);
  const counts = (tag) => Object.fromEntries([...tag.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
  const cases = [...report.matchAll(/<testcase ([^>]*)>/g)].map(([, tag]) => counts(tag));
  const failures = report.match(/<failure /g).length;
  const skipped = report.match(/<skipped /g).length;
  for (const [, tag] of report.matchAll(/<(?:testsuites|testsuite) ([^>]*)>/g)) {
    const { tests, failures: failed, errors, skipped: left, time } = counts(tag);
    assert.deepEqual([tests, failed, errors, left], [cases.length, failures, 0, skipped].map(String));
    assert.match(time, /^\d+\.\d{3}$/);
    const sum = cases.reduce((seconds, one) => seconds + Number(one.time), 0);
    assert.ok(Math.abs(Number(time) - sum) < 0.001 && sum > 0, `${time} is not the sum ${sum}`);
  }
  assert.ok(cases.length > 10 && cases.every(({ classname, name, time }) => classname === 'dist-test.edge' && name && /^\d+\.\d{3}$/.test(time)));
  assert.match(report, /<testsuite name="edge" /);
  assert.match(report, /<failure message="the first strong GET \/public\/rates: X-Route-Primary is &quot;&lt;&amp;&quot;&gt;&quot;/);
});

test('every row of the policy table is checked, as the table says', () => {
  const text = readFileSync(script, 'utf8');
  const rows = [...text.matchAll(/^        '(\/[^']*)' (\S+) (\S+?)(?: \\)?$/gm)];
  const values = { '"$stored"': 'public, max-age=300, stale-while-revalidate=60', '"$private"': 'no-store, private', 'no-store': 'no-store' };
  const listed = rows.map(([, pattern, , value]) => `${pattern}: ${values[value]}`);
  assert.deepEqual(listed.sort(), policy.map((row) => `${row.path}: ${row.cache_control}`).sort());
  for (const [, pattern, path] of rows) {
    if (path !== '"$public_path"') assert.equal(rowOf(path).path, pattern);
  }
});

test('--local expects the gateways to cache by themselves', async () => {
  const uncached = (answer) => (answer.headers['Cache-Status'] = null);
  // --local uses three consecutive ports; the other two need not exist to see the first.
  const us = await gateway('us-east-1', uncached);
  const { stdout } = await run([...budget, '--local', us.url]);
  assert.match(stdout, /FAIL  cache +the second GET \/public\/rates is no hit: X-Cache "", Cache-Status ""/);
});

test('a hanging server does not outlast the deadline', async () => {
  const hanging = await gateway('us-east-1', () => new Promise(() => {}));
  const start = Date.now();
  const { code, stdout } = await run(['--deadline', '2', hanging.url]);
  assert.ok(Date.now() - start < 4000);
  assert.equal(code, 2, stdout);
});

test('a server that drips its body does not outlast the deadline', async () => {
  const dripping = createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/plain' });
    const timer = setInterval(() => response.write('x\n'), 50);
    response.on('close', () => clearInterval(timer));
  });
  await new Promise((resolve) => dripping.listen(0, '127.0.0.1', resolve));
  servers.push(dripping);
  const start = Date.now();
  const { code } = await run(['--deadline', '2', `http://127.0.0.1:${dripping.address().port}`]);
  assert.ok(Date.now() - start < 4000);
  assert.notEqual(code, 0);
});

// A server whose answers are written byte by byte.
async function raw(talk) {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => talk(socket));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  return { port: server.address().port, url: `http://127.0.0.1:${server.address().port}` };
}

function every(milliseconds, socket, write) {
  const timer = setInterval(write, milliseconds);
  socket.on('close', () => clearInterval(timer));
}

// Sends without end, as fast as the reader reads, until the connection ends.
function pour(socket, text) {
  const more = () => {
    while (!socket.destroyed && socket.write(text));
  };
  socket.on('drain', more);
  more();
}

const endless = {
  hangs: () => {},
  'drips a header a second': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    every(1000, socket, () => socket.write('X-Drip: drop\r\n'));
  },
  'sends an endless body of short lines': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n');
    pour(socket, 'x\n'.repeat(8192));
  },
  'sends an endless body without lines': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n');
    pour(socket, 'x'.repeat(16384));
  },
  'sends an endless head': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    pour(socket, 'X-Flood: drop\r\n'.repeat(512));
  },
};

// All at once, with the built-in deadline: the slow tests only wait and use no CPU time.
test('against a server without end it ends within a minute', { concurrency: true }, async (t) => {
  const tests = Object.entries(endless).flatMap(([what, talk]) => [
    t.test(`a server that ${what}`, async () => {
      const server = await raw(talk);
      const start = Date.now();
      const { code, stdout } = await run([server.url]);
      assert.ok(Date.now() - start < 60_000, `${Date.now() - start} ms`);
      assert.notEqual(code, 0, stdout);
      assert.match(stdout, /^FAILED in edge: health: /m);
    }),

    t.test(`a region that ${what} is blamed alone`, async () => {
      const [edge, west, bad] = await Promise.all([gateway('us-east-1'), gateway('us-west-2'), raw(talk)]);
      const start = Date.now();
      const { code, stdout } = await run(['-n', '5', '--budget-ms', '2000', edge.url], { EU_WEST_1_IP: `127.0.0.1:${bad.port}`, US_WEST_2_IP: `127.0.0.1:${west.port}` });
      assert.ok(Date.now() - start < 60_000, `${Date.now() - start} ms`);
      assert.equal(code, 1, stdout);
      const blamed = stdout.split('\n').filter((line) => line.startsWith('FAILED in '));
      assert.ok(blamed.length > 0 && blamed.every((line) => line.startsWith('FAILED in eu-west-1: ')), stdout);
      assert.match(stdout, /^us-west-2 +[0-9.]+ /m);
    }),
  ]);
  await Promise.all(tests);
});

test('a region that hangs after its probe does not take the others\' time', async () => {
  const [edge, west] = await Promise.all([gateway('us-east-1'), gateway('us-west-2')]);
  const bad = await gateway('eu-west-1', (answer, request) => (request.url.startsWith('/health') ? {} : new Promise(() => {})));
  const { code, stdout } = await run(['-n', '5', '--budget-ms', '2000', edge.url], { EU_WEST_1_IP: `127.0.0.1:${bad.port}`, US_WEST_2_IP: `127.0.0.1:${west.port}` });
  assert.equal(code, 1, stdout);
  const blamed = stdout.split('\n').filter((line) => line.startsWith('FAILED in '));
  assert.ok(blamed.length > 0 && blamed.every((line) => line.startsWith('FAILED in eu-west-1: ')), stdout);
});

test('a write that the next region cannot be asked about is its fault, not the writer\'s', async () => {
  const us = await gateway('us-east-1');
  const hanging = await gateway('eu-west-1', () => new Promise(() => {}));
  const { stdout } = await run([...budget, '--write', us.url], { ...writing, EU_WEST_1_IP: `127.0.0.1:${hanging.port}` });
  assert.match(stdout, /skip  token +written here, but eu-west-1 does not answer/);
  assert.ok(!stdout.includes('FAILED in edge'), stdout);
});

test('an address that cannot be one ends with 2 before anything is asked', async () => {
  const edge = await gateway('us-east-1');
  for (const address of ['127.0.0.1:99999', '127.0.0.1:65536', '127.0.0.1:0', '127.0.0.1:', '127.0.0.256:80', '[::1]:99999', '127.0.0.1:080']) {
    const { code, stderr } = await run([...budget, edge.url], { EU_WEST_1_IP: address });
    assert.equal(code, 2, address);
    assert.match(stderr, /EU_WEST_1_IP is no ADDRESS/);
  }
  assert.deepEqual(edge.state.seen, []);
});

const usage = {
  'no URL': [[], {}],
  'two URLs': [['http://a', 'http://b'], {}],
  'a URL with a path': [['http://a/b'], {}],
  'another scheme': [['file:///etc/passwd'], {}],
  'an unknown option': [['--frobnicate', 'http://a'], {}],
  'a missing value': [['http://a', '-n'], {}],
  'no samples': [['-n', '0', 'http://a'], {}],
  'an octal number of samples': [['-n', '08', 'http://a'], {}],
  'a budget that is no number': [['--budget-ms', 'x', 'http://a'], {}],
  '--write without TOKEN': [['--write', 'http://a'], {}],
  'a region that is no address': [['http://a'], { EU_WEST_1_IP: 'example.com;id' }],
  'a URL with a port that is none': [['http://a:99999'], {}],
  'local ports beyond the last': [['--local', 'http://127.0.0.1:65534'], {}],
  'nothing reachable': [['http://127.0.0.1:1'], {}],
};

for (const [what, [args, env]] of Object.entries(usage)) {
  test(`${what} ends with 2`, async () => {
    assert.equal((await run(args, env)).code, 2);
  });
}

// An S3 listener that keeps objects, except for `change(answer, request)`; signatures are curl's affair.
async function bucket(change = () => {}) {
  const objects = new Map();
  const seen = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const url = new URL(request.url, 'http://bucket');
    const key = url.pathname.split('/')[2];
    const answer = { status: 200, body: '' };
    if (!/^AWS4-HMAC-SHA256 Credential=the-id\//.test(request.headers.authorization ?? '')) answer.status = 403;
    else if (request.method === 'PUT') objects.set(key, body);
    else if (request.method === 'DELETE') [answer.status] = [204, objects.delete(key)];
    else if (url.searchParams.has('prefix')) answer.body = [...objects.keys()].map((it) => `<Key>${it}</Key>`).join('');
    else if (objects.has(key)) answer.body = objects.get(key);
    else answer.status = 404;
    seen.push(request);
    change(answer, request, url);
    response.writeHead(answer.status).end(answer.body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  return { objects, seen, env: {
    STORAGE_URL: `http://127.0.0.1:${server.address().port}`, STORAGE_REPOSITORY: 'app-data',
    STORAGE_KEY_ID: 'the-id', STORAGE_KEY_SECRET: 'the-secret',
  } };
}

test('with --storage a small object is put, listed, got and deleted at every region', async () => {
  const [us, eu] = await Promise.all(['us-east-1', 'eu-west-1'].map((region) => gateway(region)));
  const { objects, seen, env } = await bucket();
  const regions = { US_EAST_1_IP: `127.0.0.1:${us.port}`, EU_WEST_1_IP: `127.0.0.1:${eu.port}`, ORIGIN_SECRET: 'hidden' };
  const { code, stdout } = await run([...budget, '--storage', us.url], { ...regions, ...env });
  assert.equal(code, 0, stdout);
  assert.equal(stdout.match(/ok +storage +put, listed, got and deleted/g).length, 2);
  assert.equal(objects.size, 0);
  assert.deepEqual(seen.slice(0, 5).map((it) => it.method), ['PUT', 'GET', 'GET', 'DELETE', 'GET']);
  assert.ok(seen.every((it) => it.headers['x-origin-verify'] === undefined));
  assert.doesNotMatch((await run([...budget, us.url], regions)).stdout, /storage/);
});

const storageFaults = {
  'refuses writes': [/PUT of \S+ answers 503/, (a, r) => r.method === 'PUT' && (a.status = 503)],
  'does not list': [/LIST of/, (a, r, url) => url.searchParams.has('prefix') && (a.body = '')],
  'returns other bytes': [/GET of/, (a, r, url) => r.method === 'GET' && !url.search && (a.body = 'other')],
  'does not delete': [/DELETE of/, (a, r) => r.method === 'DELETE' && (a.status = 200)],
};
for (const [what, [message, change]] of Object.entries(storageFaults)) {
  test(`a listener of S3 that ${what} is red`, async () => {
    const eu = await gateway('eu-west-1');
    const { objects, env } = await bucket(change);
    const { code, stdout } = await run([...budget, '--storage', eu.url], { EU_WEST_1_IP: `127.0.0.1:${eu.port}`, ...env });
    assert.equal(objects.size, 0);
    assert.equal(code, 1, stdout);
    assert.match(stdout, /FAILED in eu-west-1: storage:/);
    assert.match(stdout, message);
  });
}

test('--storage says which variable it needs, and shows no secret', async () => {
  const { env } = await bucket();
  for (const name of Object.keys(env)) {
    const { code, stdout, stderr } = await run(['--storage', 'http://127.0.0.1:1'], { ...env, [name]: '' });
    assert.equal(code, 2);
    assert.match(stderr, new RegExp(name));
    assert.doesNotMatch(stdout + stderr, /the-secret/);
  }
});
