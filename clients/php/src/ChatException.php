<?php

declare(strict_types=1);

namespace Propromo\Chat;

/** What the chat server, or somebody who claims to be it, was refused for; the message is a sentence. */
final class ChatException extends \RuntimeException
{
    /**
     * @param int $status of the HTTP answer; 0 if there was none
     * @param string $reason the server's word for it, such as user_not_found
     */
    public function __construct(
        string $message,
        public readonly int $status = 0,
        public readonly string $reason = '',
    ) {
        parent::__construct($message);
    }
}
