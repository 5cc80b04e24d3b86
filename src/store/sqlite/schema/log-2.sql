-- Which messages a room has. A message gets its entry some time after it was stored, together with many others
-- (see unindexed.rs), so a commit does not touch a page for each room of its batch.
CREATE TABLE by_room (
    room INTEGER NOT NULL,
    key  INTEGER NOT NULL,
    PRIMARY KEY (room, key)
) WITHOUT ROWID;
INSERT INTO by_room SELECT room, key FROM messages ORDER BY room, key;
DROP INDEX messages_by_room;

-- All messages up to this key have their entry.
CREATE TABLE indexed (
    id  INTEGER PRIMARY KEY CHECK (id = 0),
    key INTEGER NOT NULL
);
INSERT INTO indexed SELECT 0, coalesce(max(key), 0) FROM messages;
