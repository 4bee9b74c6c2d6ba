"""Servers of the tests, on all addresses: HTTP on 80 and 8080, TLS on 443 and 8443, something like SSH on 22 and 2222, an echo
on 5432, and UDP on 9. Each says what it was asked for. A line on standard output tells that /slow has begun."""

import http.server
import json
import socketserver
import ssl
import tempfile
import threading

import trustme

#: What came by UDP.
datagrams = []


class Note(socketserver.BaseRequestHandler):
    def handle(self):
        datagrams.append(self.request[0].decode())


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            self.wfile.write(self.rfile.read(4)[::-1])
            self.close_connection = True
            return
        if self.path == "/slow":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            print("slow", flush=True)
            # Goes on as long as somebody reads: a connection that stays open.
            while True:
                self.wfile.write(b"x" * 65536)
        length = int(self.headers.get("Content-Length", 0))
        answer = {
            "host": self.headers.get("Host"),
            "sni": getattr(self.connection, "asked_for", None),
            "address": self.connection.getsockname()[0],
            "upgrade": self.headers.get("Upgrade"),
            "body": self.rfile.read(length).decode(),
            "datagrams": datagrams,
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Banner(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"SSH-2.0-test\r\n")
        self.request.sendall(b"after " + self.request.recv(64))


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Clients that are cut off are what is tested."""


def tls(port):
    server = Server(("", port), Site)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as certificate:
        made = trustme.CA().issue_cert("*.test")
        made.private_key_and_cert_chain_pem.write_to_path(certificate.name)
        context.load_cert_chain(certificate.name)

    def note(connection, name, _):
        connection.asked_for = name

    context.sni_callback = note
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


class Plain(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


servers = [Server(("", port), Site) for port in (80, 8080)] + [tls(port) for port in (443, 8443)]
servers += [Plain(("", 22), Banner), Plain(("", 2222), Banner), Plain(("", 5432), Echo), socketserver.UDPServer(("", 9), Note)]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
servers[0].serve_forever()
