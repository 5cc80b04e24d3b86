<?php
// PHP's streams: logs in by the http wrapper, then speaks WebSocket over a socket; see tests/clients/logins.rs.

[, $host, $email, $password, $path, $protocol, $text] = $argv;

$body = json_encode(['email' => $email, 'password' => $password]);
$context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => "Content-Type: application/json ; charset=utf8\r\nX-Requested-With: XMLHttpRequest",
    'content' => $body,
    'ignore_errors' => true,
    'timeout' => 60,
]]);
$answer = file_get_contents("http://$host/login", false, $context);
echo 'status ', explode(' ', $http_response_header[0])[1], "\n";
$token = json_decode($answer, true, 512, JSON_THROW_ON_ERROR)['token'];

$socket = stream_socket_client("tcp://$host", $code, $error, 60) or exit("can't connect: $error");
stream_set_timeout($socket, 60);
fwrite($socket, "GET $path?auth=$token HTTP/1.1\r\nHost: $host\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" .
    'Sec-WebSocket-Key: ' . base64_encode(random_bytes(16)) . "\r\nSec-WebSocket-Version: 13\r\n" .
    "Sec-WebSocket-Protocol: $protocol\r\nUser-Agent: Größe/1\r\n\r\n");
$chosen = '';
echo 'upgrade ', explode(' ', fgets($socket))[1], "\n";
while (($line = rtrim(fgets($socket))) !== '') {
    if (stripos($line, 'Sec-WebSocket-Protocol:') === 0) {
        $chosen = trim(substr($line, 23));
    }
}
echo "protocol $chosen\n";

/** One masked frame. */
function frame(int $opcode, string $payload): string
{
    $mask = random_bytes(4);
    $length = strlen($payload) < 126 ? chr(0x80 | strlen($payload)) : chr(0x80 | 126) . pack('n', strlen($payload));
    return chr(0x80 | $opcode) . $length . $mask . ($payload ^ str_pad('', strlen($payload), $mask));
}

/** The opcode and the payload of the next frame. */
function heard($socket): array
{
    $head = stream_get_contents($socket, 2);
    $length = ord($head[1]) & 0x7f;
    if ($length === 126) {
        $length = unpack('n', stream_get_contents($socket, 2))[1];
    }
    return [ord($head[0]) & 0x0f, $length ? stream_get_contents($socket, $length) : ''];
}

fwrite($socket, frame(1, $text));
echo 'text ', heard($socket)[1], "\n";
fwrite($socket, frame(8, pack('n', 1000)));
[$opcode, $payload] = heard($socket);
echo 'closed ', $opcode === 8 ? unpack('n', $payload)[1] : "by a frame $opcode", "\n";
