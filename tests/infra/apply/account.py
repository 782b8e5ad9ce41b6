"""An imitated AWS account: moto_server, and in front of it a proxy that amends what moto says (rules.py),
refuses what AWS would refuse, and remembers every call. `silence` makes a region's control plane unreachable."""

import http.client
import http.server
import json
import os
import re
import socket
import socketserver
import subprocess
import threading
import time
import urllib.parse
import urllib.request

SIGNATURE = "AWS4-HMAC-SHA256 Credential=walk/20240101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=x"
HOP_BY_HOP = {"content-length", "transfer-encoding", "connection", "expect", "server", "date"}


class Call:
    """A request, as far as rules look at it."""

    def __init__(self, method, path, headers, body):
        self.at, self.method, self.path, self.headers, self.body = time.time(), method, path, headers, body
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", headers.get("Authorization", ""))
        self.region, self.service = scope.groups() if scope else ("", "")
        target = headers.get("X-Amz-Target")
        self.form = {} if target or self.service == "s3" else dict(urllib.parse.parse_qsl(body.decode(errors="replace")))
        self.action = target.rsplit(".")[-1] if target else self.form.get("Action", f"{method} {path}")

    @property
    def json(self):
        return json.loads(self.body or b"{}")


class Answer:
    def __init__(self, status, body, headers=None, kind="text/xml"):
        self.status, self.headers = status, headers or [("Content-Type", kind)]
        self.text = body if isinstance(body, str) else body.decode(errors="surrogateescape")

    @property
    def json(self):
        return json.loads(self.text)

    @json.setter
    def json(self, value):
        self.text = json.dumps(value)


class Account:
    def __init__(self, moto_server, log, rules):
        self.lock, self.calls, self.silent = threading.RLock(), [], set()
        self.moto_port, self.port = free_port(), free_port()
        environment = os.environ | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
        self.log = open(log, "w")
        self.moto = subprocess.Popen([moto_server, "-H", "127.0.0.1", "-p", str(self.moto_port)], stdout=self.log, stderr=self.log, env=environment)
        self.rules = rules(self)
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.account = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.wait_for_moto()

    url = property(lambda self: f"http://127.0.0.1:{self.port}")

    def wait_for_moto(self):
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.moto_port}/moto-api/", timeout=5)
                return
            except OSError:
                if self.moto.poll() is not None:
                    break
                time.sleep(0.5)
        raise RuntimeError("moto_server does not start; see its log")

    def stop(self):
        self.server.shutdown()
        self.moto.terminate()
        self.moto.wait(20)

    def forward(self, method, path, headers, body):
        """Asks moto itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.moto_port, timeout=120)
        connection.request(method, path, body=body, headers={k: v for k, v in headers.items() if k.lower() not in HOP_BY_HOP})
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return Answer(response.status, data, response.getheaders())

    def ask(self, service, region, action, **arguments):
        """Asks moto itself, in the query protocol, or in JSON where `action` is Prefix.Action."""
        headers = {"Authorization": SIGNATURE.format(region=region, service=service)}
        if "." in action:
            headers |= {"X-Amz-Target": action, "Content-Type": "application/x-amz-json-1.1"}
            body = json.dumps(arguments)
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode({"Action": action} | arguments)
        return self.forward("POST", "/", headers, body.encode())

    def answer(self, call):
        if call.region in self.silent:
            return Answer(503, "the region does not answer")
        answer = self.rules.before(call) or self.forward(call.method, call.path, call.headers, call.body)
        self.rules.after(call, answer)
        return answer

    def since(self, at, *actions):
        with self.lock:
            return [call for call in self.calls if call.at >= at and call.action in actions]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        account = self.server.account
        call = Call(self.command, self.path, self.headers, self.read_body())
        answer = account.answer(call)
        call.status, call.said = answer.status, answer.text
        with account.lock:
            account.calls.append(call)
            if call.status >= 400:
                print(f"{call.status} {call.region} {call.service} {call.action}: {call.said[:300]}", file=account.log, flush=True)
        body = answer.text.encode(errors="surrogateescape")
        self.send_response(answer.status)
        for name, value in answer.headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_any

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
