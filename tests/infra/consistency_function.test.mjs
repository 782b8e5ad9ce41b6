// The CloudFront viewer-request function. The file has no exports, since its runtime does not support
// modules; `vm` evaluates it and returns `handler`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import vm from 'node:vm';

const path = process.env.FUNCTION ?? new URL('../../infra/terraform/functions/consistency.js', import.meta.url);
const source = readFileSync(path, 'utf8');
const { handler } = vm.runInNewContext(`${source}; ({ handler });`);

// A header's lines in CloudFront's form: `value` is the last, `multiValue` has all if it is repeated.
function header(...lines) {
  const last = { value: lines.at(-1) };
  return lines.length === 1 ? last : { ...last, multiValue: lines.map((value) => ({ value })) };
}

function request(headers, requestId = 'request-1') {
  const event = {
    version: '1.0',
    context: { eventType: 'viewer-request', requestId },
    viewer: { ip: '192.0.2.1' },
    request: { method: 'GET', uri: '/public/documents', querystring: {}, headers, cookies: {} },
  };
  return handler(event);
}

function marked(headers) {
  return request(headers).headers['x-consistency-nonce']?.value === 'request-1';
}

// CloudFront answers 502 where a function adds one of these ("Restrictions on all edge functions").
const DISALLOWED =
  /^(connection|expect|keep-alive|proxy-.*|trailer|transfer-encoding|upgrade|via|x-accel-.*|x-amz-cf-.*|x-amzn-.*|x-cache.*|x-edge-.*|x-forwarded-proto|x-real-ip)$/;

test('no field that CloudFront disallows is added', () => {
  const { headers } = request({ 'x-consistency': header('strong'), 'x-consistency-token': header('t') });
  assert.ok(Object.keys(headers).length > 2);
  for (const name of Object.keys(headers)) {
    assert.doesNotMatch(name, DISALLOWED);
  }
});

test('a request without level or token is left alone', () => {
  const { headers } = request({ accept: header('application/json') });
  assert.deepEqual({ ...headers }, { accept: { value: 'application/json' } });
});

for (const value of ['strong', 'STRONG', 'Strong', ' strong', 'strong ', '\tstrong\t', 'sTrOnG;x=1']) {
  test(`strong is marked, written ${JSON.stringify(value)}`, () => {
    assert.ok(marked({ 'x-consistency': header(value) }));
  });
}

for (const value of ['session', 'Session', ' bounded;max-staleness=2', 'bounded;max-staleness=0.5', 'bounded']) {
  test(`${value.trim()} is marked`, () => {
    assert.ok(marked({ 'x-consistency': header(value) }));
  });
}

for (const value of ['strong, eventual', 'eventual, strong', 'eventual,eventual', 'eventual;max-staleness=2', 'nonsense', '', '"eventual"']) {
  test(`what is not plainly eventual is marked, here ${JSON.stringify(value)}`, () => {
    assert.ok(marked({ 'x-consistency': header(value) }));
  });
}

test('repeated headers are marked, whichever comes last', () => {
  assert.ok(marked({ 'x-consistency': header('strong', 'eventual') }));
  assert.ok(marked({ 'x-consistency': header('eventual', 'strong') }));
  assert.ok(marked({ 'x-consistency': header('eventual', 'eventual') }));
});

test('what is marked reaches the gateway as it came', () => {
  const sent = { 'x-consistency': header('eventual', 'Strong') };
  assert.deepEqual(request(structuredClone(sent)).headers['x-consistency'], sent['x-consistency']);
});

test('a token is marked, alone or with a level', () => {
  assert.ok(marked({ 'x-consistency-token': header('abc') }));
  assert.ok(marked({ 'x-consistency-token': header('') }));
  assert.ok(marked({ 'x-consistency-token': header('abc', 'def') }));
  assert.ok(marked({ 'x-consistency-token': header('abc'), 'x-consistency': header('eventual') }));
  assert.ok(marked({ 'x-consistency-token': header('abc'), 'x-consistency': header('session') }));
});

test('the token itself is passed on', () => {
  assert.equal(request({ 'x-consistency-token': header('abc') }).headers['x-consistency-token'].value, 'abc');
});

for (const value of ['eventual', 'EVENTUAL', ' Eventual\t']) {
  test(`eventual shares the entry of no header at all, written ${JSON.stringify(value)}`, () => {
    assert.deepEqual({ ...request({ 'x-consistency': header(value) }).headers }, {});
  });
}

test('a nonce the client sent is removed', () => {
  assert.deepEqual({ ...request({ 'x-consistency-nonce': header('mine') }).headers }, {});
  assert.deepEqual({ ...request({ 'x-consistency-nonce': header('a', 'b') }).headers }, {});
  assert.deepEqual({ ...request({ 'x-consistency-nonce': header('mine'), 'x-consistency': header('eventual') }).headers }, {});
});

test('a nonce the client sent is replaced when there is a level', () => {
  const { headers } = request({ 'x-consistency-nonce': header('mine'), 'x-consistency': header('strong') });
  assert.deepEqual({ ...headers['x-consistency-nonce'] }, { value: 'request-1' });
});

test('no two requests share a nonce', () => {
  const nonce = (id) => request({ 'x-consistency': header('strong') }, id).headers['x-consistency-nonce'].value;
  assert.notEqual(nonce('request-1'), nonce('request-2'));
});

test('other headers, the address and the method stay', () => {
  const sent = request({ authorization: header('Bearer x'), 'x-consistency': header('strong'), accept: header('*/*') });
  assert.equal(sent.headers.authorization.value, 'Bearer x');
  assert.equal(sent.headers.accept.value, '*/*');
  assert.equal(sent.uri, '/public/documents');
  assert.equal(sent.method, 'GET');
});

test('the file is what the runtime can run: no modules, nothing of Node, small', () => {
  assert.doesNotMatch(source, /\b(import|export|require|process|async|class|let|const)\b(?=[^\n]*[;{(=])/);
  assert.ok(Buffer.byteLength(source) < 10 * 1024, 'a CloudFront function may have 10 KB');
});
