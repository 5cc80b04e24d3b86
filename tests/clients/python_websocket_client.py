"""Python's `websocket-client`: opens, says, hears, closes; see tests/clients/others.rs."""

import json
import sys

from websocket import ABNF, WebSocketBadStatusException, create_connection

order = json.loads(sys.argv[1])


def show(value):
    print(json.dumps(value), flush=True)


try:
    # It sends an Origin of its own, as it always does.
    socket = create_connection(
        order["url"],
        subprotocols=order["protocols"] or None,
        header=order["headers"],
        timeout=60,
    )
except WebSocketBadStatusException as refusal:
    show({"refused": refusal.status_code})
    sys.exit()

show({"protocol": socket.getsubprotocol() or ""})
for text in order["say"]:
    socket.send(text)
heard = 0
while heard < order["hear"]:
    opcode, data = socket.recv_data()
    show({"text": data.decode()} if opcode == ABNF.OPCODE_TEXT else {"binary": True})
    heard += 1
socket.send_close(1000)
opcode = None
while opcode != ABNF.OPCODE_CLOSE:
    opcode, data = socket.recv_data()
show({"closed": int.from_bytes(data[:2], "big")})
