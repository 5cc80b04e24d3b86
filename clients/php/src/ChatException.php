<?php

declare(strict_types=1);

namespace Propromo\Chat;

/** Why a call failed, or why a webhook was refused; the message is a sentence. */
final class ChatException extends \RuntimeException
{
    /**
     * @param int $status the HTTP status; 0 if there was no answer
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
