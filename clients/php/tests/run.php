<?php

// Tests of the class, against a real server: php run.php SERVER KEY. Prints what fails, and exits with how many that are.

declare(strict_types=1);

use Propromo\Chat\ChatException;
use Propromo\Chat\PropromoChat;

require __DIR__ . '/../src/ChatException.php';
require __DIR__ . '/../src/PropromoChat.php';

error_reporting(E_ALL);
set_error_handler(static function (int $level, string $message): bool {
    // What is silenced with @ is dealt with where it happens.
    if ((error_reporting() & $level) === 0) {
        return false;
    }
    throw new ErrorException($message, 0, $level);
});

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

[, $server, $key] = $argv;
$chat = new PropromoChat($server, $key, SECRET);

function same(mixed $expected, mixed $found): void
{
    if ($expected !== $found) {
        throw new RuntimeException('expected ' . var_export($expected, true) . ', found ' . var_export($found, true));
    }
}

function refused(callable $work): ChatException
{
    try {
        $work();
    } catch (ChatException $error) {
        return $error;
    }
    throw new RuntimeException('it was not refused');
}

function signed(string $body, ?int $at = null, string $secret = SECRET): array
{
    [$id, $at] = ['msg_1', (string) ($at ?? time())];
    $key = base64_decode(substr($secret, strlen('whsec_')));
    $signature = base64_encode(hash_hmac('sha256', "$id.$at.$body", $key, true));

    return ['Webhook-Id' => $id, 'Webhook-Timestamp' => $at, 'Webhook-Signature' => "v1,AAAA v1,$signature"];
}

$tests = [
    'a token is minted for who is logged in elsewhere' => function () use ($chat): void {
        $minted = $chat->mintToken('alice@propromo.example', room: 'monitor:demo', ttl: 30);
        same('connection', $minted['kind']);
        same(3, count(explode('.', $minted['token'])));
        same(true, $minted['expires'] <= time() + 31);
        same('access', $chat->mintToken('alice@propromo.example', kind: 'access')['kind']);
    },
    'who has no account gets none' => function () use ($chat): void {
        $error = refused(fn () => $chat->mintToken('nobody@propromo.example'));
        same([404, 'user_not_found'], [$error->status, $error->reason]);
        $error = refused(fn () => $chat->mintToken('carol@propromo.example', room: 'monitor:demo'));
        same([403, 'room_denied'], [$error->status, $error->reason]);
    },
    'what is published twice with one key is one message' => function () use ($chat): void {
        $first = $chat->publish('channel:php', 'Grüße aus PHP 👋', 'once');
        same($first['id'], $chat->publish('channel:php', 'Grüße aus PHP 👋', 'once')['id']);
        same(false, $first['id'] === $chat->publish('channel:php', 'Grüße aus PHP 👋')['id']);
    },
    'a key that is wrong is told apart from a server that is away' => function () use ($server): void {
        $wrong = new PropromoChat($server, str_repeat('x', 40));
        same(401, refused(fn () => $wrong->publish('channel:php', 'hi'))->status);
        $away = new PropromoChat('http://127.0.0.1:9', str_repeat('x', 40));
        same(0, refused(fn () => $away->publish('channel:php', 'hi'))->status);
    },
    'a webhook that is signed is read, whatever the case of its headers' => function () use ($chat): void {
        $body = '{"type":"message.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"text":"hi","absent":[2]}}';
        foreach ([CASE_LOWER, CASE_UPPER] as $case) {
            $event = $chat->verifyWebhook($body, array_change_key_case(signed($body), $case));
            same(['msg_1', 'message.created', [2]], [$event['id'], $event['type'], $event['data']['absent']]);
        }
        $asLaravel = array_map(static fn (string $value) => [$value], signed($body));
        same('msg_1', $chat->verifyWebhook($body, $asLaravel)['id']);
    },
    'the signature is that of the specification' => function (): void {
        $chat = new PropromoChat('http://127.0.0.1:9', 'x', SECRET);
        $headers = [
            'webhook-id' => 'msg_p5jXN8AQM9LWM0D4loKWxJek',
            'webhook-timestamp' => '1614265330',
            'webhook-signature' => 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
        ];
        // Believed, and years old.
        same('wrong_time', refused(fn () => $chat->verifyWebhook('{"test": 2432232314}', $headers))->reason);
        same('wrong_signature', refused(fn () => $chat->verifyWebhook('{"test": 2432232315}', $headers))->reason);
    },
    'a webhook that somebody else signed, changed or kept is refused' => function () use ($chat): void {
        $body = '{"type":"message.created","timestamp":"","data":{}}';
        $other = 'whsec_' . base64_encode(str_repeat('x', 32));
        same('wrong_signature', refused(fn () => $chat->verifyWebhook($body, signed($body, null, $other)))->reason);
        same('wrong_signature', refused(fn () => $chat->verifyWebhook("$body ", signed($body)))->reason);
        same('wrong_signature', refused(fn () => $chat->verifyWebhook($body, []))->reason);
        same('wrong_time', refused(fn () => $chat->verifyWebhook($body, signed($body, time() - 600)))->reason);
        same('wrong_time', refused(fn () => $chat->verifyWebhook($body, signed($body, time() + 600)))->reason);
    },
];

$failed = 0;
foreach ($tests as $name => $test) {
    try {
        $test();
        echo "ok: $name\n";
    } catch (Throwable $error) {
        $failed++;
        echo "FAILED: $name: {$error->getMessage()} ({$error->getFile()}:{$error->getLine()})\n";
    }
}
exit($failed);
