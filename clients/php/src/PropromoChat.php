<?php

declare(strict_types=1);

namespace Propromo\Chat;

/**
 * What a site does with a propromo-chat server: mint tokens for its users, say something in rooms, verify webhooks.
 *
 * Needs PHP 8.1 or later and nothing else. docs/PROTOCOL.md, section 11, describes the calls.
 */
final class PropromoChat
{
    /** Seconds by which a webhook's time may differ from this machine's clock. */
    public const TOLERANCE = 300;

    /**
     * @param string $server such as https://chat.example.org
     * @param string $key the last part of a line of API_KEYS
     * @param string|null $webhookSecret whsec_…, for {@see verifyWebhook()}
     * @param float $timeout seconds that an answer may take
     */
    public function __construct(
        private readonly string $server,
        #[\SensitiveParameter] private readonly string $key,
        #[\SensitiveParameter] private readonly ?string $webhookSecret = null,
        private readonly float $timeout = 5.0,
    ) {
    }

    /**
     * Makes a token for a user whom the site has logged in itself.
     *
     * @param string|int $user an account's id or email
     * @param string|null $room monitor:HASH or channel:NAME; the token then opens no other room
     * @param int|null $ttl seconds that it lives
     * @return array{token: string, kind: string, expires: int}
     * @throws ChatException
     */
    public function mintToken(
        string|int $user,
        ?string $room = null,
        string $kind = 'connection',
        ?int $ttl = null,
    ): array {
        $wanted = ['user' => $user, 'kind' => $kind, 'room' => $room, 'ttl' => $ttl];

        return $this->call('POST', '/api/v1/tokens', array_filter($wanted, static fn ($value) => $value !== null));
    }

    /**
     * Says something in a room, as bot:NAME, the key's name. Calls with the same $idempotencyKey say it once; without one
     * each call makes its own key, for its attempts.
     *
     * @return array{id: string, timestamp: string}
     * @throws ChatException
     */
    public function publish(string $room, string $text, ?string $idempotencyKey = null): array
    {
        $reference = $idempotencyKey ?? bin2hex(random_bytes(16));
        $path = '/api/v1/rooms/' . rawurlencode($room) . '/messages';
        try {
            return $this->call('POST', $path, ['text' => $text, 'ref' => $reference]);
        } catch (ChatException $error) {
            // It may be stored or not: with the same reference it is one message in any case.
            if ($error->status !== 0 && $error->status !== 503) {
                throw $error;
            }

            return $this->call('POST', $path, ['text' => $text, 'ref' => $reference]);
        }
    }

    /**
     * Returns a webhook's event after checking that it comes from the server. Events may come again, with the same `id`.
     *
     * @param string $body the request's body, as it came
     * @param array<string, string|list<string>> $headers names in any case, such as Laravel's $request->headers->all()
     * @return array{id: string, type: string, timestamp: string, data: array<string, mixed>}
     * @throws ChatException if it is not the server's, or older than five minutes
     */
    public function verifyWebhook(string $body, array $headers): array
    {
        if ($this->webhookSecret === null) {
            throw new \LogicException('PropromoChat was made without a webhook secret.');
        }
        $secret = base64_decode(preg_replace('/^whsec_/', '', $this->webhookSecret), true);
        if ($secret === false || $secret === '') {
            throw new \LogicException('The webhook secret is not whsec_ and base64.');
        }
        $headers = array_change_key_case($headers);
        $header = static function (string $name) use ($headers): string {
            $value = $headers[$name] ?? '';

            return is_array($value) ? (string) ($value[0] ?? '') : (string) $value;
        };
        [$id, $timestamp] = [$header('webhook-id'), $header('webhook-timestamp')];
        $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $secret, true));
        $signed = false;
        foreach (explode(' ', $header('webhook-signature')) as $signature) {
            $signed = hash_equals($expected, $signature) || $signed;
        }
        if ($id === '' || !ctype_digit($timestamp) || !$signed) {
            throw new ChatException('The webhook is not signed by the chat server.', 401, 'wrong_signature');
        }
        if (abs(time() - (int) $timestamp) > self::TOLERANCE) {
            throw new ChatException('The webhook is not of this moment.', 401, 'wrong_time');
        }
        $event = json_decode($body, true, 64, JSON_THROW_ON_ERROR);

        return ['id' => $id] + $event;
    }

    /**
     * @param array<string, mixed> $body
     * @return array<string, mixed>
     */
    private function call(string $method, string $path, array $body): array
    {
        $context = stream_context_create([
            'http' => [
                'method' => $method,
                'header' => [
                    "Authorization: Bearer {$this->key}",
                    'Content-Type: application/json',
                    'Accept: application/json',
                ],
                'content' => json_encode($body, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE),
                'ignore_errors' => true,
                'follow_location' => 0,
                'timeout' => $this->timeout,
            ],
        ]);
        $answer = @file_get_contents(rtrim($this->server, '/') . $path, false, $context);
        $status = 0;
        if (preg_match('{^HTTP/\S+ (\d{3})}', $http_response_header[0] ?? '', $found)) {
            $status = (int) $found[1];
        }
        if ($answer === false || $status === 0) {
            throw new ChatException("The chat server can't be reached.");
        }
        $read = json_decode($answer, true);
        if ($status >= 200 && $status < 300 && is_array($read)) {
            return $read;
        }
        $message = is_array($read) ? ($read['message'] ?? null) : null;
        $reason = is_array($read) ? ($read['reason'] ?? '') : '';
        throw new ChatException($message ?? "The chat server answers $status.", $status, (string) $reason);
    }
}
