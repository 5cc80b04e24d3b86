-- Whether copies of deleted rows may be left in the file (see slack.rs), as may be in one of an earlier version.
CREATE TABLE sweep (
    id  INTEGER PRIMARY KEY CHECK (id = 0),
    due INTEGER NOT NULL
);
INSERT INTO sweep SELECT 0, EXISTS (SELECT 1 FROM messages);

-- An earlier version copied texts to a new table for this purpose, and may have ended in between.
DROP TABLE IF EXISTS texts_copy;
DROP TABLE IF EXISTS texts_outdated;
