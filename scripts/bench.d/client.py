"""A small client of the channel protocol, for what is asked one thing after the other."""

import base64
import json
import os
import socket
import struct
import urllib.request


class Client:
    def __init__(self, port: int, room: str, access: str):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /channel/{room}?ticket={ticket(port, access)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        self.input = self.socket.makefile("rb", buffering=1 << 18)
        status = self.input.readline().decode()
        if " 101 " not in status:
            raise SystemExit(f"scripts/bench: the server refused a client: {status.strip()}")
        while self.input.readline() not in (b"\r\n", b""):
            pass

    def say(self, **frame) -> None:
        text = json.dumps(frame).encode()
        length = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(text))
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))
        self.socket.sendall(b"\x81" + length + mask + masked)

    def hear(self) -> bytes:
        """The next text; what else comes is passed over."""
        while True:
            first, length = self._read(2)
            if length == 126:
                (length,) = struct.unpack(">H", self._read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._read(8))
            payload = self._read(length)
            if first & 0x0F == 1:
                return payload
            if first & 0x0F == 8:
                raise SystemExit(f"scripts/bench: the server closed a connection: {payload[2:].decode()}")

    def hear_a(self, kind: str) -> bytes:
        begin = f'{{"type":"{kind}"'.encode()
        while not (frame := self.hear()).startswith(begin):
            pass
        return frame

    def _read(self, count: int) -> bytes:
        data = self.input.read(count)
        if len(data) < count:
            raise SystemExit("scripts/bench: the server is gone")
        return data


def call(port: int, path: str, body: dict | None = None, access: str = "") -> dict:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    if access:
        request.add_header("Authorization", f"Bearer {access}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def ticket(port: int, access: str) -> str:
    return call(port, "/ws_ticket", access=access)["ticket"]
