-- A room whose name is NULL was forgotten: its messages are deleted a slice at a time.
CREATE TABLE rooms (
    id      INTEGER PRIMARY KEY,
    name    TEXT UNIQUE,
    -- The id of the newest message that was trimmed.
    trimmed BLOB
);

-- `key` and `tail` are the two halves of the message's UUIDv7 (see ids.rs). Keys only grow, so a new
-- message always goes to the table's last page; only the narrow index is touched room by room.
CREATE TABLE messages (
    key    INTEGER PRIMARY KEY,
    room   INTEGER NOT NULL,
    tail   INTEGER NOT NULL,
    sender TEXT NOT NULL,
    text   TEXT NOT NULL,
    extra  TEXT,
    ref    TEXT
);

-- SQLite ends every index entry with the row's key: this is an index on (room, key).
CREATE INDEX messages_by_room ON messages (room);

-- Costs nothing for messages without a reference, and forgets one together with its message.
CREATE UNIQUE INDEX messages_by_ref ON messages (room, sender, ref) WHERE ref IS NOT NULL;

-- Ids stay above this even if the messages that had them were deleted.
CREATE TABLE floor (
    id  INTEGER PRIMARY KEY CHECK (id = 0),
    key INTEGER NOT NULL
);
