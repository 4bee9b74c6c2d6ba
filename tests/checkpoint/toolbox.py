"""A sandbox's agent, by its socket on the host or by the server's proxy: the same API."""

import json
import socket
import time

import httpx
from httpx_ws import HTTPXWSException, connect_ws

PATIENCE = 30


class Toolbox:
    def __init__(self, client):
        self.client = client

    @classmethod
    def at(cls, path):
        """As the runner reaches it: without the proxy."""
        transport = httpx.HTTPTransport(uds=str(path))
        return cls(httpx.Client(transport=transport, base_url="http://sandbox", timeout=PATIENCE))

    def post(self, path, body=None):
        response = self.client.post(path, json=body)
        assert response.is_success, response.text
        return response

    def run(self, command):
        return self.post("/process/execute", {"command": command}).json()["result"]

    def web(self):
        """What the program in the sandbox answers."""
        return json.loads(self.run("curl -s localhost:8000"))

    def terminal(self, path):
        return Terminal(connect_ws(f"{self.client.base_url}{path}", self.client))

    def python(self, code):
        """One execution in the interpreter, whose variables stay."""
        output = ""
        with connect_ws(f"{self.client.base_url}/process/interpreter/execute", self.client) as websocket:
            websocket.send_text(json.dumps({"code": code}))
            while (frame := json.loads(websocket.receive_text(PATIENCE)))["type"] != "control":
                assert frame["type"] == "stdout", frame
                output += frame["text"]
        return output


def prepare(path):
    """Has an agent close its connections. This one too: its end says that they are closed, not the answer before it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(b"POST /.sbx/prepare HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 "), answer


class Terminal:
    """An attached terminal."""

    def __init__(self, connecting):
        self.connecting = connecting
        self.output = ""

    def __enter__(self):
        self.websocket = self.connecting.__enter__()
        return self

    def __exit__(self, *failure):
        self.connecting.__exit__(*failure)

    def type(self, text, until):
        """Waits until the terminal shows a text."""
        self.websocket.send_bytes(text.encode())
        output, end = "", time.monotonic() + PATIENCE
        while until not in output:
            assert time.monotonic() < end, output
            event = self.websocket.receive(PATIENCE)
            output += event.data.decode() if isinstance(event.data, (bytes, bytearray)) else ""

    def is_closed(self):
        try:
            while True:
                self.websocket.receive(PATIENCE)
        except HTTPXWSException:
            return True
