-- What the log holds, by its words. All of it can be made anew from the log.
CREATE TABLE rooms (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    -- The id of the last entry of the room that is in here.
    position BLOB NOT NULL
);

-- All entries of all rooms up to this id are in here.
CREATE TABLE floor (
    id       INTEGER PRIMARY KEY CHECK (id = 0),
    position BLOB NOT NULL
);

-- The row's number is the message's key, `tail` the rest of its id. Words are made by the program and stand with spaces between
-- them; of what is not ASCII this tokenizer leaves all together. No order of words is kept.
CREATE VIRTUAL TABLE messages USING fts5(words, room, tail UNINDEXED, tokenize = 'ascii', detail = 'column');

-- What is deleted is taken out of the index at once, not when its parts are merged.
INSERT INTO messages (messages, rank) VALUES ('secure-delete', 1);
