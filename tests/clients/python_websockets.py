"""Python's `websockets`: opens, says, hears, closes; see tests/clients.rs."""

import json
import sys

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

order = json.loads(sys.argv[1])


def show(value):
    print(json.dumps(value), flush=True)


try:
    socket = connect(
        order["url"],
        subprotocols=order["protocols"] or None,
        additional_headers=order["headers"],
        open_timeout=60,
    )
except InvalidStatus as refusal:
    show({"refused": refusal.response.status_code})
    sys.exit()

with socket:
    show({"protocol": socket.subprotocol or ""})
    for text in order["say"]:
        socket.send(text)
    for _ in range(order["hear"]):
        heard = socket.recv(timeout=60)
        show({"text": heard} if isinstance(heard, str) else {"binary": True})
    socket.close(1000)
show({"closed": socket.protocol.close_code})
