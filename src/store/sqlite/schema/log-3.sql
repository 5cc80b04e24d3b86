-- What a message is now stands with it.
ALTER TABLE messages ADD COLUMN name TEXT;
-- Ids, as 16 bytes.
ALTER TABLE messages ADD COLUMN reply_to BLOB;
ALTER TABLE messages ADD COLUMN edited BLOB;
-- 1 if there are reactions.
ALTER TABLE messages ADD COLUMN reacted INTEGER;
-- 1: its text is gone, and it has no entry in by_room. The row stays as long as the change that says so, so that
-- whoever has seen this message last is given what follows, and its sender can't make it again by its reference.
ALTER TABLE messages ADD COLUMN deleted INTEGER;

-- Edits, deletions and reactions, in one order with the messages.
CREATE TABLE changes (
    key     INTEGER PRIMARY KEY,
    room    INTEGER NOT NULL,
    tail    INTEGER NOT NULL,
    -- The changed message's id, its two halves.
    of      INTEGER NOT NULL,
    of_tail INTEGER NOT NULL,
    by      TEXT NOT NULL,
    -- 0: edited (the text is the message's), 1: deleted, 2: reacted, 3: a reaction taken back.
    kind    INTEGER NOT NULL,
    emoji   TEXT
);

-- SQLite ends every index entry with the row's key: this is an index on (room, key).
CREATE INDEX changes_by_room ON changes (room);

CREATE TABLE reactions (
    of    INTEGER NOT NULL,
    emoji TEXT NOT NULL,
    user  TEXT NOT NULL,
    -- The change's.
    key   INTEGER NOT NULL,
    PRIMARY KEY (of, emoji, user)
) WITHOUT ROWID;

-- The key of the newest change that was trimmed.
ALTER TABLE rooms ADD COLUMN changes_trimmed INTEGER;
