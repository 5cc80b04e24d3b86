-- What is in the journal is taken over into these tables by and by, in order: all up to this key is here.
-- Ids stay above it, even if the messages that had them were deleted.
CREATE TABLE applied (
    id  INTEGER PRIMARY KEY CHECK (id = 0),
    key INTEGER NOT NULL
);
INSERT INTO applied
    SELECT 0, max(coalesce((SELECT max(key) FROM messages), 0), coalesce((SELECT max(key) FROM changes), 0),
                  coalesce((SELECT key FROM floor), 0));
DROP TABLE floor;

-- Now a message gets its entry in `by_room` together with its row.
INSERT OR IGNORE INTO by_room
    SELECT room, key FROM messages WHERE key > (SELECT key FROM indexed) AND deleted IS NULL;
DROP TABLE indexed;
