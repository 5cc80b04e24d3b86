-- Propromo's database as its Laravel migrations leave it in PostgreSQL (its whole schema, though the chat reads three
-- tables), with rows of the kinds that its application has left there over time.
CREATE TABLE migrations (id serial PRIMARY KEY, migration varchar(255) NOT NULL, batch integer NOT NULL);
CREATE TABLE users (
    id bigserial PRIMARY KEY, name varchar(255) NOT NULL, nickname varchar(255),
    email varchar(255) NOT NULL CONSTRAINT users_email_unique UNIQUE, email_verified_at timestamp(0) without time zone,
    password varchar(255) NOT NULL, github_id varchar(255), auth_type varchar(255) NOT NULL, remember_token varchar(100),
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE password_reset_tokens (
    email varchar(255) PRIMARY KEY, token varchar(255) NOT NULL, created_at timestamp(0) without time zone
);
CREATE TABLE failed_jobs (
    id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL UNIQUE, connection text NOT NULL, queue text NOT NULL,
    payload text NOT NULL, exception text NOT NULL, failed_at timestamp(0) without time zone NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE personal_access_tokens (
    id bigserial PRIMARY KEY, tokenable_type varchar(255) NOT NULL, tokenable_id bigint NOT NULL, name varchar(255) NOT NULL,
    token varchar(64) NOT NULL UNIQUE, abilities text, last_used_at timestamp(0) without time zone,
    expires_at timestamp(0) without time zone, created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE INDEX ON personal_access_tokens (tokenable_type, tokenable_id);
CREATE TABLE monitors (
    id bigserial PRIMARY KEY, type varchar(255) NOT NULL, login_name varchar(255), project_url varchar(255),
    organization_name varchar(255), pat_token text, readme varchar(255), public boolean, title varchar(255),
    short_description text, project_identification integer NOT NULL, monitor_hash varchar(255) NOT NULL,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE vulnerabilities (
    id bigserial PRIMARY KEY, repository_name varchar(255) NOT NULL, package_name varchar(255) NOT NULL,
    ecosystem varchar(255) NOT NULL, classification varchar(255) NOT NULL, summary text NOT NULL, description text NOT NULL,
    vulnerable_version_range varchar(255) NOT NULL, first_patched_version varchar(255), dependency_scope varchar(255) NOT NULL,
    fixed_at timestamp(0) without time zone, published_at timestamp(0) without time zone NOT NULL,
    updated_at timestamp(0) without time zone NOT NULL, created_at timestamp(0) without time zone NOT NULL,
    monitor_id bigint NOT NULL REFERENCES monitors (id) ON DELETE CASCADE
);
CREATE TABLE monitor_user (
    id bigserial PRIMARY KEY, created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone,
    monitor_id bigint NOT NULL, user_id bigint NOT NULL
);
CREATE TABLE repositories (
    id bigserial PRIMARY KEY, name varchar(255) NOT NULL, is_custom boolean, custom_repository_id integer UNIQUE,
    monitor_id bigint NOT NULL, created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE milestones (
    id bigserial PRIMARY KEY, title varchar(255) NOT NULL, url varchar(255) NOT NULL, state varchar(255) NOT NULL,
    description varchar(255), due_on timestamp(0) without time zone, milestone_id integer NOT NULL, open_issues_count integer,
    closed_issues_count integer, progress double precision NOT NULL, repository_id bigint NOT NULL,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE tasks (
    id bigserial PRIMARY KEY, is_active boolean, body_url varchar(255), created_at date, updated_at date, last_edited_at date,
    closed_at date, custom_repository_id integer, body varchar(255), title varchar(255), url varchar(255),
    milestone_id bigint NOT NULL
);
CREATE TABLE assignees (
    id bigserial PRIMARY KEY, avatar_url varchar(255), email varchar(255), login varchar(255), name varchar(255),
    pronouns varchar(255), url varchar(255), website_url varchar(255), task_id bigint NOT NULL,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE labels (
    id bigserial PRIMARY KEY, url varchar(255), name varchar(255), color varchar(255), created_at date, updated_at date,
    description varchar(255), is_default boolean, task_id bigint NOT NULL
);
CREATE TABLE deployments (
    id bigserial PRIMARY KEY, description text, log_url varchar(255) NOT NULL, environment_url varchar(255) NOT NULL,
    state varchar(255) NOT NULL, monitor_id bigint NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE authors (
    id bigint PRIMARY KEY, name varchar(255), email varchar(255) UNIQUE, avatar_url varchar(255),
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE contributions (
    id varchar(255) PRIMARY KEY, author_id bigint NOT NULL REFERENCES authors (id) ON DELETE CASCADE,
    commit_url varchar(255) NOT NULL, message_headline varchar(255) NOT NULL, message_body text, additions integer NOT NULL,
    deletions integer NOT NULL, changed_files integer NOT NULL, committed_date timestamp(0) without time zone NOT NULL,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE contribution_author (
    contribution_id varchar(255) NOT NULL REFERENCES contributions (id) ON DELETE CASCADE,
    author_id bigint NOT NULL REFERENCES authors (id) ON DELETE CASCADE,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone,
    PRIMARY KEY (contribution_id, author_id)
);
CREATE TABLE releases (
    id bigserial PRIMARY KEY, name varchar(255) NOT NULL, description text, is_draft boolean NOT NULL DEFAULT false,
    is_latest boolean NOT NULL DEFAULT false, is_prerelease boolean NOT NULL DEFAULT false, url varchar(255) NOT NULL,
    created_at timestamp(0) without time zone NOT NULL, updated_at timestamp(0) without time zone NOT NULL,
    monitor_id bigint NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    repository_id bigint NOT NULL REFERENCES repositories (id) ON DELETE CASCADE
);
CREATE TABLE tags (
    id bigserial PRIMARY KEY, name varchar(255) NOT NULL, additions integer NOT NULL, deletions integer NOT NULL,
    changed_files integer NOT NULL, authored_at timestamp(0) without time zone NOT NULL,
    author_id bigint NOT NULL REFERENCES authors (id) ON DELETE CASCADE,
    release_id bigint NOT NULL REFERENCES releases (id) ON DELETE CASCADE,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE monitor_logs (
    id bigserial PRIMARY KEY, monitor_id bigint NOT NULL REFERENCES monitors (id), status varchar(255), summary text,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE monitor_log_entries (
    id bigserial PRIMARY KEY, monitor_log_id bigint NOT NULL REFERENCES monitor_logs (id), message text NOT NULL,
    level varchar(255) NOT NULL DEFAULT 'info', context json,
    created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);
CREATE TABLE jobs (
    id bigserial PRIMARY KEY, queue varchar(255) NOT NULL, payload text NOT NULL, attempts smallint NOT NULL,
    reserved_at integer, available_at integer NOT NULL, created_at integer NOT NULL
);
CREATE INDEX ON jobs (queue);
CREATE TABLE todos (
    id bigserial PRIMARY KEY, created_at timestamp(0) without time zone, updated_at timestamp(0) without time zone
);

-- dora-password as bcrypt of cost 12, egon-password as argon2id; Frida came by GitHub and has no password.
INSERT INTO users (name, email, password, github_id, auth_type, created_at) VALUES
    ('Dora', 'Dora@Example.org', '$2y$12$9CQKae6n/yx9Rlg6ZUwOZuY.z4drZIIHVbrdMCLwvy5pfRYxYsqZm', NULL, 'PROPROMO', '2024-02-03 04:05:06'),
    ('Egon', 'egon@example.org', '$argon2id$v=19$m=65536,t=4,p=1$eUduMkxrU2xaSkRURldyWg$0qPUnD6h74k1j5DIxXKe7PW8dmanbYXhmhXFLDS7S6U', NULL, 'PROPROMO', NULL),
    ('Frida', 'frida@example.org', '', '4711', 'GITHUB', NULL);
-- Neither `public` nor a title; and two monitors of one hash, which nothing forbids.
INSERT INTO monitors (type, login_name, project_identification, monitor_hash, public, created_at) VALUES
    ('USER', 'dora', 1, '$2y$12$laravel/monitor.hash', NULL, '2024-02-03 04:05:06'),
    ('ORGANIZATION', NULL, 2, 'shared', true, NULL),
    ('ORGANIZATION', NULL, 3, 'shared', false, NULL);
-- Doubled, since nothing forbids that either; and one of an account that is gone.
INSERT INTO monitor_user (user_id, monitor_id) VALUES (1, 1), (1, 1), (1, 2), (2, 1), (2, 3), (99, 1);
