// The script of the task that rolls out a traffic policy (modules/gateway/fleet.tf), with a `tidegate` that only
// notes how it is called.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';

const source = readFileSync(join(process.env.TERRAFORM, 'modules/gateway/fleet.tf'), 'utf8');
const script = /policy_script = <<-EOT\n([\s\S]*?)^ *EOT$/m.exec(source)[1].replaceAll('$${', '${');
const folder = mkdtempSync(join(tmpdir(), 'rollout-task-'));
after(() => rmSync(folder, { recursive: true }));

const stub = `#!/bin/sh
shift
echo "$*" | sed 's#/dev/fd/[0-9]*#FILE#' >>"$CALLS"
case $1 in
    push) for file; do :; done; cat "$file" >>"$CALLS"; echo "stored as revision"; echo 12; exit "\${PUSHED:-0}" ;;
    rollout) exit "\${ROLLED:-0}" ;;
esac
`;
writeFileSync(join(folder, 'tidegate'), stub, { mode: 0o755 });

function run(command, variables) {
  const calls = join(folder, 'calls');
  writeFileSync(calls, '');
  const env = { PATH: `${folder}:${process.env.PATH}`, CALLS: calls, ...variables };
  const { status, stdout } = spawnSync('bash', ['-euo', 'pipefail', '-c', script, 'policy', ...command], { env, encoding: 'utf8' });
  return { status, stdout, calls: readFileSync(calls, 'utf8') };
}

const policy = 'region eu-west-1 # Zürich, "quoted"\n';
const packed = gzipSync(policy).toString('base64');

test('a policy is pushed and its revision rolled out, with the options of the command', () => {
  const { status, stdout, calls } = run(['--bake', '60s'], { TRAFFIC_POLICY: packed, NOTE: 'two words' });
  assert.equal(status, 0);
  assert.equal(calls, `push --note two words FILE\n${policy}rollout --bake 60s 12\n`);
  assert.match(stdout, /revision\n12\n/);
});

test('the exit code is that of the rollout', () => {
  for (const code of [1, 3, 4, 6]) assert.equal(run([], { TRAFFIC_POLICY: packed, ROLLED: `${code}` }).status, code);
});

test('what cannot be pushed is not rolled out', () => {
  const { status, calls } = run([], { TRAFFIC_POLICY: packed, PUSHED: '2' });
  assert.equal(status, 2);
  assert.doesNotMatch(calls, /rollout/);
});

test('without a policy the command is carried out', () => {
  assert.equal(run(['rollback', '--to', '3'], {}).calls, 'rollback --to 3\n');
});
