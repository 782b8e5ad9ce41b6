"""Runs http-tests/cache-tests through a real gateway: its server is the application, its client the client.

Fails unless the required tests pass except those in failed.txt, and enough of the optimal ones; tests for
browsers alone are left out. Usage: check.py GATEWAY-BINARY DIRECTORY-OF-NODE-MODULES
"""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

START_SECONDS = 60
SUITE_SECONDS = 300
# How often a test with an unexpected result is repeated alone before it is judged.
REPEATS = 2
REQUIRED_MIN = 150
OPTIMAL_MIN = 75

CONFIGURATION = """
[[policy]]
path = "/*"
consistency = "eventual"
cache_control = "application"

[[endpoint]]
method = "*"
path = "/{{*rest}}"
upstream = "http://127.0.0.1:{port}"
cache = true
"""

KINDS = """
import tests from './tests/index.mjs'
import surrogate from './tests/surrogate-control.mjs'
const all = [...tests, surrogate].flatMap(suite => suite.tests).filter(test => !test.browser_only)
console.log(JSON.stringify(Object.fromEntries(all.map(test => [test.id, test.kind || 'required']))))
"""

ONE = """
import { runTests, getResults } from './client/runner.mjs'
import fetch from 'node-fetch'
import tests from './tests/index.mjs'
import surrogate from './tests/surrogate-control.mjs'
const [base, id] = process.argv.slice(1)
const one = [...tests, surrogate].flatMap(suite => suite.tests).filter(test => test.id === id)
await runTests([{ name: id, id, tests: one }], fetch, false, base)
console.log(JSON.stringify(getResults()))
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def application(suite, port, directory):
    """The suite's server, as the application."""
    variables = {
        "npm_config_protocol": "http",
        "npm_config_port": str(port),
        "npm_config_pidfile": str(directory / "server.pid"),
    }
    server = subprocess.Popen(
        ["node", "server/server.mjs"],
        cwd=suite,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )
    ready, _, _ = select.select([server.stdout], [], [], START_SECONDS)
    if not ready or "Listening" not in server.stdout.readline():
        server.kill()
        raise SystemExit("the suite's server has not started")
    threading.Thread(target=server.stdout.read, daemon=True).start()
    return server


def gateway(binary, port, directory):
    """A gateway before it, and its port. It needs no database for this."""
    file = directory / "tidegate.toml"
    file.write_text(CONFIGURATION.format(port=port))
    environment = {
        "PATH": os.environ["PATH"],
        "REGION": "eu-west-1",
        "DATABASE_URL": "postgres://app@127.0.0.1:1/app",
        "LISTEN_ADDR": "127.0.0.1:0",
        "ADMIN_ADDR": "127.0.0.1:0",
        "LOG_FORMAT": "json",
    }
    log = directory / "gateway.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [binary, "serve", "--config", file], env=environment, stdout=output, stderr=output
        )
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        # The last line may be half-written.
        for line in log.read_text().split("\n")[:-1]:
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("message") == "listening":
                return process, said["listen"]
        time.sleep(0.05)
    raise SystemExit(f"the gateway has not started:\n{log.read_text()}")


def results(suite, address):
    """What the suite's client has found, by the name of the test."""
    variables = {"npm_config_base": f"http://{address}", "npm_package_config_id": ""}
    client = subprocess.run(
        ["node", "--no-warnings", "cli.mjs"],
        cwd=suite,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=SUITE_SECONDS,
    )
    if client.returncode != 0:
        raise SystemExit(f"the suite's client has failed:\n{client.stderr}")
    return json.loads(client.stdout[client.stdout.index("{\n") :])


def repeated(suite, address, test):
    """What one test alone finds."""
    command = ["node", "--no-warnings", "--input-type=module", "--eval", ONE, f"http://{address}", test]
    client = subprocess.run(
        command, cwd=suite, capture_output=True, check=True, text=True, timeout=SUITE_SECONDS
    )
    return json.loads(client.stdout.splitlines()[-1])


def kinds(suite):
    """Whether a test is required, optimal or a mere check."""
    command = ["node", "--no-warnings", "--input-type=module", "--eval", KINDS]
    return json.loads(subprocess.run(command, cwd=suite, capture_output=True, check=True).stdout)


def main():
    binary, modules = (pathlib.Path(it).resolve() for it in sys.argv[1:3])
    suite = modules / "http-cache-tests"
    listed = pathlib.Path(__file__).with_name("failed.txt").read_text().splitlines()
    expected = {line.split()[0] for line in listed if line and not line.startswith("#")}
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        port = free_port()
        started = []
        try:
            started.append(application(suite, port, directory))
            process, address = gateway(binary, port, directory)
            started.append(process)
            found = results(suite, address)
            kind = kinds(suite)
            # The suite measures time, and a busy machine is slow.
            for name in sorted(kind):
                for _ in range(REPEATS):
                    if kind[name] == "required" and (found.get(name) is True) == (name in expected):
                        found.update(repeated(suite, address, name))
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(30)
    passed = {name for name in kind if found.get(name) is True}
    of = {it: {name for name in kind if kind[name] == it} for it in set(kind.values())}
    for name in sorted(set(kind) - passed):
        print(f"{kind[name]:8} {name}: {found.get(name)}")
    for it in ["required", "optimal", "check"]:
        print(f"{it}: {len(of[it] & passed)} of {len(of[it])} passed")
    unexpected = of["required"] - passed - expected
    wrong = [f"{name} fails and is not in failed.txt" for name in sorted(unexpected)]
    for name in sorted(expected & passed):
        print(f"WARNING: {name} is in failed.txt and passes")
    wrong += [f"{name} is in failed.txt and is no test" for name in sorted(expected - set(kind))]
    if len(of["required"] & passed) < REQUIRED_MIN or len(of["optimal"] & passed) < OPTIMAL_MIN:
        wrong.append(f"fewer than {REQUIRED_MIN} required or {OPTIMAL_MIN} optimal tests pass")
    if wrong:
        raise SystemExit("\n".join(wrong))


main()
