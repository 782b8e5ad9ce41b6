"""Scans the public listener of a real gateway with sslyze.

Fails on anything but what docs/security.md says: TLS 1.2 and 1.3, ECDHE and AEAD ciphers alone, no
renegotiation by the client, no compression, no early data, ALPN. Usage: scan.py GATEWAY-BINARY
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

from sslyze import (
    ScanCommand,
    ScanCommandAttemptStatusEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
)

START_SECONDS = 60

REFUSED = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]
OFFERED = ["tls_1_2", "tls_1_3"]
OTHERS = [
    ScanCommand.TLS_COMPRESSION,
    ScanCommand.TLS_1_3_EARLY_DATA,
    ScanCommand.SESSION_RENEGOTIATION,
    ScanCommand.HEARTBLEED,
    ScanCommand.ROBOT,
    ScanCommand.OPENSSL_CCS_INJECTION,
    ScanCommand.TLS_FALLBACK_SCSV,
    ScanCommand.ELLIPTIC_CURVES,
]


def certificate(directory, kind):
    """A certificate for localhost and its key, as files."""
    key = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}[kind]
    files = directory / f"{kind}-cert.pem", directory / f"{kind}-key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost", "-newkey", *key]
        + ["-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files


def start(binary, files):
    """A gateway, and the port that it listens on. It needs no database for this."""
    environment = {
        "PATH": os.environ["PATH"],
        "REGION": "eu-west-1",
        "DATABASE_URL": "postgres://app@127.0.0.1:1/app",
        "LISTEN_ADDR": "127.0.0.1:0",
        "ADMIN_ADDR": "127.0.0.1:0",
        "LOG_FORMAT": "json",
        "TLS_CERT": str(files[0]),
        "TLS_KEY": str(files[1]),
    }
    gateway = subprocess.Popen([binary, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
    limit = threading.Timer(START_SECONDS, gateway.kill)
    limit.start()
    said = []
    for line in gateway.stderr:
        said.append(line)
        line = json.loads(line) if line.startswith("{") else {}
        line = line.get("fields", line)
        if line.get("message") == "listening":
            limit.cancel()
            # The rest of its log is read, or it would wait for that.
            threading.Thread(target=gateway.stderr.read, daemon=True).start()
            return gateway, int(line["listen"].rpartition(":")[2])
    sys.exit("the gateway did not start:\n" + "".join(said))


def scan(port):
    location = ServerNetworkLocation("localhost", port, ip_address="127.0.0.1")
    configuration = ServerNetworkConfiguration("localhost")
    commands = {ScanCommand(f"{name}_cipher_suites") for name in REFUSED + OFFERED} | set(OTHERS)
    scanner = Scanner()
    scanner.queue_scans([ServerScanRequest(location, configuration, scan_commands=commands)])
    (result,) = scanner.get_results()
    if result.scan_result is None:
        sys.exit(f"sslyze cannot connect: {result.connectivity_error_trace}")

    def of(command):
        attempt = getattr(result.scan_result, command)
        if attempt.status != ScanCommandAttemptStatusEnum.COMPLETED:
            sys.exit(f"sslyze did not complete {command}: {attempt.error_reason} {attempt.error_trace}")
        return attempt.result

    return of


def ciphers(of, name):
    accepted = of(f"{name}_cipher_suites").accepted_cipher_suites
    return [suite.cipher_suite.name for suite in accepted]


def is_modern(cipher):
    exchange = cipher.startswith(("TLS_ECDHE_", "TLS_AES_", "TLS_CHACHA20_"))
    return exchange and ("_GCM_" in cipher or "_CHACHA20_POLY1305_" in cipher)


def faults(of):
    """What is not as it should be."""
    for name in REFUSED:
        for cipher in ciphers(of, name):
            yield f"{name} is offered, with {cipher}"
    for name in OFFERED:
        offered = ciphers(of, name)
        if not offered:
            yield f"{name} is not offered"
        for cipher in offered:
            if not is_modern(cipher):
                yield f"{name} is offered with {cipher}"
    for what, is_there in [
        ("compression", of("tls_compression").supports_compression),
        ("early data", of("tls_1_3_early_data").supports_early_data),
        ("renegotiation by the client", of("session_renegotiation").is_vulnerable_to_client_renegotiation_dos),
        ("Heartbleed", of("heartbleed").is_vulnerable_to_heartbleed),
        ("CCS injection", of("openssl_ccs_injection").is_vulnerable_to_ccs_injection),
    ]:
        if is_there:
            yield f"{what} is possible"
    robot = of("robot").robot_result.value
    if not robot.startswith("NOT_VULNERABLE"):
        yield f"ROBOT: {robot}"


def main():
    binary = sys.argv[1]
    found = False
    with tempfile.TemporaryDirectory() as directory:
        for kind in ["ecdsa", "rsa"]:
            gateway, port = start(binary, certificate(pathlib.Path(directory), kind))
            try:
                of = scan(port)
                for fault in faults(of):
                    found = True
                    print(f"check-tls: {kind}: {fault}")
                for name in OFFERED:
                    print(f"check-tls: {kind}: {name}: {' '.join(sorted(ciphers(of, name)))}")
                curves = of("elliptic_curves").supported_curves or []
                print(f"check-tls: {kind}: curves: {' '.join(curve.name for curve in curves)}")
            finally:
                gateway.terminate()
                gateway.wait()
    sys.exit("check-tls: failed" if found else None)


main()
