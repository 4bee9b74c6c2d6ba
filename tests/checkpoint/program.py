"""Runs inside the sandbox: a server with state in memory that changes all the time, and a file that it keeps open."""

import http.server
import json
import os
import secrets
import threading
import time

state = {"count": 0, "secret": secrets.token_hex(16), "pid": os.getpid()}
ballast = secrets.token_bytes(20 << 20)
journal = open("journal", "w", buffering=1)  # noqa: SIM115


def count():
    while True:
        state["count"] += 1
        journal.write(f"{state['count']}\n")
        time.sleep(0.02)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(state).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


threading.Thread(target=count, daemon=True).start()
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
