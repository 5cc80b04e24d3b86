-- Everything up to this entry was told, in all rooms. Ids are UUIDs, as 16 bytes; they have one order over all rooms.
CREATE TABLE floor (
    id    INTEGER PRIMARY KEY CHECK (id = 0),
    entry BLOB NOT NULL
);

-- Rooms in which more was told.
CREATE TABLE told (
    room  TEXT PRIMARY KEY,
    entry BLOB NOT NULL
) WITHOUT ROWID;
