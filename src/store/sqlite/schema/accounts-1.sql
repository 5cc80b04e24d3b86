-- The tables of the Propromo (Laravel) database, as far as they are read here.
-- NOCASE folds ASCII letters only: addresses beyond ASCII must be typed as they were stored.
CREATE TABLE users (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    email      TEXT NOT NULL COLLATE NOCASE UNIQUE,
    password   TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE monitors (
    id                INTEGER PRIMARY KEY,
    monitor_hash      TEXT NOT NULL UNIQUE,
    type              TEXT,
    title             TEXT,
    organization_name TEXT,
    short_description TEXT,
    public            INTEGER NOT NULL DEFAULT 0,
    project_url       TEXT,
    created_at        TEXT,
    updated_at        TEXT
);

CREATE TABLE monitor_user (
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    monitor_id INTEGER NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, monitor_id)
) WITHOUT ROWID;

CREATE INDEX monitor_user_by_monitor ON monitor_user (monitor_id);
