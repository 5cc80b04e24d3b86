-- How far an account has read a room: the id of a message, as 16 bytes.
CREATE TABLE reads (
    account INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    room    TEXT NOT NULL,
    id      BLOB NOT NULL CHECK (length(id) = 16),
    PRIMARY KEY (account, room)
) WITHOUT ROWID;
