"""An endpoint of webhooks, made with the public library for Python: prints each event that it verified as a line of JSON.

usage: webhook_receiver.py SECRET [CERTIFICATE KEY]
"""

import http.server
import json
import ssl
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

secret, *tls = sys.argv[1:]


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            event = Webhook(secret).verify(body, dict(self.headers))
            print(json.dumps({"id": self.headers["webhook-id"], "event": event}), flush=True)
            self.send_response(204)
        except WebhookVerificationError as error:
            print(json.dumps({"refused": str(error)}), flush=True)
            self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
if tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
