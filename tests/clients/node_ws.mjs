// Node's `ws`: opens, says, hears, closes; see tests/clients/others.rs.

import WebSocket from 'ws';

const { url, protocols, headers, say, hear } = JSON.parse(process.argv[2]);
const print = (value) => console.log(JSON.stringify(value));

const socket = new WebSocket(url, protocols, { headers });
let heard = 0;

socket.on('open', () => {
  print({ protocol: socket.protocol });
  for (const text of say) socket.send(text);
});
socket.on('message', (text, isBinary) => {
  print(isBinary ? { binary: true } : { text: text.toString() });
  if (++heard === hear) socket.close(1000);
});
socket.on('unexpected-response', (_, response) => {
  print({ refused: response.statusCode });
  process.exit();
});
socket.on('close', (code) => print({ closed: code }));
