-- The rooms of the rooms door. AUTOINCREMENT: the number of a deleted room is never given again.
CREATE TABLE chat_rooms (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    title       TEXT NOT NULL,
    -- The title as it is compared: in lower case, beyond ASCII too.
    title_key   TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    visibility  TEXT NOT NULL CHECK (visibility IN ('public', 'private', 'hidden')),
    password    TEXT CHECK ((password IS NULL) = (visibility = 'public')),
    -- SHA-256 of the key with which its creator may change it while it is public.
    creator     BLOB CHECK (length(creator) = 32),
    -- Unix milliseconds.
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    version     INTEGER NOT NULL DEFAULT 1
);

INSERT INTO chat_rooms (id, title, title_key, description, visibility, created_at, updated_at)
SELECT 1, 'Public Chat', 'public chat', 'This is the default chat, available to everyone!', 'public', now, now
FROM (SELECT CAST(1000 * unixepoch('now', 'subsec') AS INTEGER) AS now);
