"""An application that keeps one note for each name. It reads its replica or its primary as X-Database-Role says,
and knows nothing of positions and tokens.

Usage: notes.py PRIMARY_URL REPLICA_URL; prints the port that it listens on.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2

primary, replica = sys.argv[1:]
of_thread = threading.local()


def query(url, sql, values):
    """Runs a statement on this thread's connection to a server, in a transaction of its own."""
    connections = of_thread.__dict__.setdefault("connections", {})
    if url not in connections:
        connections[url] = psycopg2.connect(url)
        connections[url].autocommit = True
    with connections[url].cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


class Notes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def name(self):
        return self.path.rsplit("/", 1)[1]

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        role = self.headers["X-Database-Role"]
        url = replica if role == "replica" else primary
        row = query(url, "select text from notes where name = %s", [self.name()])
        self.answer(f"{role} {row[0] if row else ''}")

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        write = """insert into notes (name, text) values (%s, %s)
            on conflict (name) do update set text = excluded.text returning name"""
        query(primary, write, [self.name(), text])
        self.answer("written")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Notes)
print(server.server_port, flush=True)
server.serve_forever()
