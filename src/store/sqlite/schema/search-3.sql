-- Another form of the index. What an earlier version had is in a file that was removed before this: all is made anew from the log.
DROP TABLE messages;
DROP TABLE floor;

-- A stretch is a part of a room: messages that follow each other, up to the next stretch of the room. Each has about the same
-- number of words, so to look one through costs no more, whatever is said in the room or in others.
CREATE TABLE stretches (
    id    INTEGER PRIMARY KEY,
    room  INTEGER NOT NULL,
    -- The two halves of the id of its first message.
    first INTEGER NOT NULL,
    tail  INTEGER NOT NULL,
    -- Bytes of the words that were put in.
    size  INTEGER NOT NULL
);
CREATE UNIQUE INDEX stretches_by_room ON stretches (room, first);

-- All entries of all rooms up to `position` are in here, and what was deleted or edited up to the key `changes` is not.
CREATE TABLE progress (
    id       INTEGER PRIMARY KEY CHECK (id = 0),
    position BLOB NOT NULL,
    changes  INTEGER NOT NULL
);
INSERT INTO progress VALUES (0, zeroblob(16), 0);

-- The row's number is the message's key, `tail` the rest of its id. Words are made by the program and stand with spaces between
-- them, each behind the mark of the message's stretch (see stretches.rs); of what is not ASCII this tokenizer leaves all together.
-- No order of words is kept.
CREATE VIRTUAL TABLE messages USING fts5(words, tail UNINDEXED, tokenize = 'ascii', detail = 'none');

-- What is deleted is taken out of the index at once, not when its parts are merged.
INSERT INTO messages (messages, rank) VALUES ('secure-delete', 1);
