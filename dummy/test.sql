-- Demo accounts, and the tables of the Propromo (Laravel) database as far as the chat reads them.
--
--   psql "$DATABASE_URL" -f dummy/test.sql
--
-- It runs on an empty database and on one that Laravel has migrated, and may be run again: it makes only what is missing.
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

-- Adds a row. Laravel's tables have columns that those above do not, and later migrations may add others: what the
-- table doesn't have is left out, and what it must have and nobody gives gets an empty value.
CREATE FUNCTION pg_temp.add(target regclass, given jsonb) RETURNS void LANGUAGE plpgsql AS $add$
DECLARE
    columns text;
BEGIN
    SELECT given || coalesce(jsonb_object_agg(attname, CASE typcategory
            WHEN 'N' THEN '0'::jsonb
            WHEN 'B' THEN 'false'
            WHEN 'D' THEN to_jsonb(now())
            WHEN 'A' THEN '[]'
            WHEN 'U' THEN CASE typname WHEN 'uuid' THEN to_jsonb(md5(random()::text)::uuid) ELSE '{}' END
            ELSE '""' END)
        FILTER (WHERE attnotnull AND NOT atthasdef AND attidentity = '' AND NOT given ? attname), '{}')
    INTO given
    FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
    WHERE attrelid = target AND attnum > 0 AND NOT attisdropped;

    SELECT string_agg(quote_ident(attname), ', ')
    INTO columns
    FROM pg_attribute
    WHERE attrelid = target AND attnum > 0 AND NOT attisdropped AND given ? attname;

    EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1)', target, columns)
    USING given;
END
$add$;

-- bcrypt, cost 10.
SELECT count(pg_temp.add('users', to_jsonb(demo)
    || jsonb_build_object('auth_type', 'PROPROMO', 'created_at', now(), 'updated_at', now()))) AS users_added
FROM (VALUES
    ('Alice Demo', 'alice@propromo.example', '$2y$10$lpFbjRn/YxqoKWxaSKWY8OQfJM2VTeNXqH7k5qm7dlTNFAp8yMl9O'),
    ('Bob Demo',   'bob@propromo.example',   '$2y$10$eFWjlcp8axl2BUGVZF4WAOR/jxcO7vX0leOoWcM4fbwfgbf1zNqdC'),
    ('Carol Demo', 'carol@propromo.example', '$2y$10$ty.HeX0PMdt.VKibdUQl2uYP0SCNEPzuuIyfnkPAq/fWSIWM2i8EW')
) AS demo (name, email, password)
WHERE NOT EXISTS (SELECT 1 FROM users WHERE lower(users.email) = demo.email);

SELECT count(pg_temp.add('monitors', to_jsonb(demo)
    || jsonb_build_object('created_at', now(), 'updated_at', now()))) AS monitors_added
FROM (VALUES
    ('demo', 'ORGANIZATION', 'Demo', 'propromo-software',
     'A place to try the chat: say hello.', true,
     'https://github.com/orgs/propromo-software/projects/1', 1),
    ('$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12', 'ORGANIZATION', 'Propromo', 'propromo-software',
     'A monitor whose hash looks like those that Propromo makes.', false,
     'https://github.com/orgs/propromo-software/projects/2', 2)
) AS demo (monitor_hash, type, title, organization_name, short_description, public, project_url, project_identification)
WHERE NOT EXISTS (SELECT 1 FROM monitors WHERE monitors.monitor_hash = demo.monitor_hash);

-- Alice and Bob are in both monitors, Carol is in none. (NOT EXISTS: Laravel's pivot table does not have the unique key
-- that ON CONFLICT would need.)
SELECT count(pg_temp.add('monitor_user', jsonb_build_object('user_id', users.id, 'monitor_id', monitors.id,
    'created_at', now(), 'updated_at', now()))) AS members_added
FROM users, monitors
WHERE users.email IN ('alice@propromo.example', 'bob@propromo.example')
  AND monitors.monitor_hash IN ('demo', '$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12')
  AND NOT EXISTS (
      SELECT 1 FROM monitor_user AS already
      WHERE already.user_id = users.id AND already.monitor_id = monitors.id
  );

DROP FUNCTION pg_temp.add(regclass, jsonb);

COMMIT;
