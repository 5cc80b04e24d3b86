<?php

// As much of Laravel as the routes of docs/INTEGRATION.md use, for `php -S`: so they run as they stand there.
//
// ROUTES: the files of routes. PAGE: the file of the page. PUSHED: where pushes are noted. The cookie `user` is who is logged in.

declare(strict_types=1);

namespace Illuminate\Http {
    final class Headers
    {
        /** @return array<string, list<string>> */
        public function all(): array
        {
            $all = [];
            foreach (getallheaders() as $name => $value) {
                $all[strtolower($name)] = [$value];
            }

            return $all;
        }
    }

    final class Request
    {
        public Headers $headers;

        public function __construct()
        {
            $this->headers = new Headers();
        }

        public function getContent(): string
        {
            return file_get_contents('php://input');
        }

        public function input(string $name): mixed
        {
            return json_decode($this->getContent(), true)[$name] ?? null;
        }

        public function user(): ?object
        {
            return isset($_COOKIE['user']) ? (object) ['email' => $_COOKIE['user']] : null;
        }
    }
}

namespace Illuminate\Support\Facades {
    final class Route
    {
        /** @var array<string, self> */
        public static array $all = [];
        public bool $auth = false;

        private function __construct(public readonly \Closure $action)
        {
        }

        public static function post(string $path, \Closure $action): self
        {
            return self::$all[$path] = new self($action);
        }

        public function middleware(string $name): void
        {
            $this->auth = $name === 'auth';
        }
    }

    final class Cache
    {
        public static function add(string $key, mixed $value, int $seconds): bool
        {
            $file = @fopen(getenv('PUSHED') . '.' . md5($key), 'x');

            return $file !== false;
        }
    }
}

namespace App\Jobs {
    final class SendPush
    {
        public static function dispatch(int $account, string $from, string $text): void
        {
            $line = json_encode([$account, $from, $text], JSON_UNESCAPED_UNICODE) . "\n";
            file_put_contents(getenv('PUSHED'), $line, FILE_APPEND | LOCK_EX);
        }
    }
}

namespace {
    use Illuminate\Http\Request;
    use Illuminate\Support\Facades\Route;
    use Propromo\Chat\PropromoChat;

    $class = __DIR__ . '/../../../clients/php/src';
    require "$class/ChatException.php";
    require "$class/PropromoChat.php";

    function response(): object
    {
        return new class () {
            public function json(mixed $data, int $status = 200): string
            {
                http_response_code($status);
                header('Content-Type: application/json');

                return json_encode($data);
            }
        };
    }

    $path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
    if ($_SERVER['REQUEST_METHOD'] === 'GET') {
        header('Content-Type: text/html; charset=utf-8');
        echo str_replace('{{ csrf_token() }}', 'the-token', file_get_contents(getenv('PAGE')));

        return;
    }
    foreach (explode(':', getenv('ROUTES')) as $file) {
        require $file;
    }
    $route = Route::$all[$path] ?? null;
    $request = new Request();
    if ($route === null) {
        http_response_code(404);
    } elseif ($route->auth && ($request->user() === null || ($_SERVER['HTTP_X_CSRF_TOKEN'] ?? '') !== 'the-token')) {
        echo response()->json(['message' => 'Unauthenticated.'], 401);
    } else {
        $chat = new PropromoChat(getenv('CHAT_URL'), getenv('CHAT_KEY'), getenv('CHAT_WEBHOOK_SECRET'));
        echo ($route->action)($request, $chat);
    }
}
