-- The tables of the Propromo (Laravel) database as far as the chat reads them, and demo accounts.
--
--   psql "$DATABASE_URL" -f dummy/test.sql
--
-- May be run again, and on a database that Laravel has migrated: it makes only what is missing.
-- Passwords: alice-password, bob-password, carol-password. Never run it in production.

BEGIN;

CREATE TABLE IF NOT EXISTS users (
    id         bigserial PRIMARY KEY,
    name       varchar(255) NOT NULL,
    email      varchar(255) NOT NULL UNIQUE,
    password   varchar(255) NOT NULL,
    created_at timestamp(0),
    updated_at timestamp(0)
);

CREATE TABLE IF NOT EXISTS monitors (
    id                bigserial PRIMARY KEY,
    monitor_hash      varchar(255) NOT NULL UNIQUE,
    type              varchar(255),
    title             varchar(255),
    organization_name varchar(255),
    short_description text,
    public            boolean NOT NULL DEFAULT false,
    project_url       varchar(255),
    created_at        timestamp(0),
    updated_at        timestamp(0)
);

CREATE TABLE IF NOT EXISTS monitor_user (
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    monitor_id bigint NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, monitor_id)
);

-- Rows may have been copied in with ids of their own (a restored dump): new ones go above them.
SELECT setval(pg_get_serial_sequence('users', 'id'), coalesce(max(id), 0) + 1, false) FROM users;
SELECT setval(pg_get_serial_sequence('monitors', 'id'), coalesce(max(id), 0) + 1, false) FROM monitors;

-- bcrypt, cost 10.
INSERT INTO users (name, email, password, created_at, updated_at)
SELECT demo.name, demo.email, demo.password, now(), now()
FROM (VALUES
    ('Alice Demo', 'alice@propromo.example', '$2y$10$lpFbjRn/YxqoKWxaSKWY8OQfJM2VTeNXqH7k5qm7dlTNFAp8yMl9O'),
    ('Bob Demo',   'bob@propromo.example',   '$2y$10$eFWjlcp8axl2BUGVZF4WAOR/jxcO7vX0leOoWcM4fbwfgbf1zNqdC'),
    ('Carol Demo', 'carol@propromo.example', '$2y$10$ty.HeX0PMdt.VKibdUQl2uYP0SCNEPzuuIyfnkPAq/fWSIWM2i8EW')
) AS demo (name, email, password)
WHERE NOT EXISTS (SELECT 1 FROM users WHERE lower(users.email) = demo.email)
ON CONFLICT DO NOTHING;

INSERT INTO monitors (monitor_hash, type, title, organization_name, short_description, public, project_url, created_at, updated_at)
SELECT demo.*, now(), now()
FROM (VALUES
    ('demo', 'ORGANIZATION', 'Demo', 'propromo-software',
     'A place to try the chat: say hello.', true,
     'https://github.com/orgs/propromo-software/projects/1'),
    ('$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12', 'ORGANIZATION', 'Propromo', 'propromo-software',
     'A monitor whose hash looks like those that Propromo makes.', false,
     'https://github.com/orgs/propromo-software/projects/2')
) AS demo (monitor_hash, type, title, organization_name, short_description, public, project_url)
WHERE NOT EXISTS (SELECT 1 FROM monitors WHERE monitors.monitor_hash = demo.monitor_hash)
ON CONFLICT DO NOTHING;

-- Alice and Bob are in both monitors, Carol is in none. (NOT EXISTS: Laravel's pivot table need not
-- have the unique key that ON CONFLICT would need.)
INSERT INTO monitor_user (user_id, monitor_id)
SELECT users.id, monitors.id
FROM users, monitors
WHERE users.email IN ('alice@propromo.example', 'bob@propromo.example')
  AND monitors.monitor_hash IN ('demo', '$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12')
  AND NOT EXISTS (
      SELECT 1 FROM monitor_user AS already
      WHERE already.user_id = users.id AND already.monitor_id = monitors.id
  );

COMMIT;
