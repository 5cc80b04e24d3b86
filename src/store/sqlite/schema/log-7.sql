-- Who has said something in which rooms where accounts speak (see authors.rs). A pair stays as long as its room.
CREATE TABLE authors (
    -- A hash of the address.
    author INTEGER NOT NULL,
    room   INTEGER NOT NULL,
    PRIMARY KEY (author, room)
) WITHOUT ROWID;

CREATE INDEX authors_by_room ON authors (room);

-- Messages between these two keys are older than the table above. Their authors are noted by and by, from the first one
-- on; without a row all are.
CREATE TABLE unnoted (
    id    INTEGER PRIMARY KEY CHECK (id = 0),
    after INTEGER NOT NULL,
    last  INTEGER NOT NULL
);
INSERT INTO unnoted
    SELECT 0, (SELECT min(key) FROM messages) - 1, (SELECT max(key) FROM messages) WHERE EXISTS (SELECT 1 FROM messages);
