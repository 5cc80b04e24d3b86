-- Messages of many nodes, copied from Redis, which keeps the newest of each room. Bytes stand here as they stand there:
-- texts may hold what the type text may not.
CREATE TABLE chat.archive (
    room       text COLLATE "C" PRIMARY KEY,
    -- Everything up to this entry of the room has been copied.
    upto       uuid NOT NULL,
    -- Counted up by whoever erases: a copy that was read before then is not written any more.
    generation bigint NOT NULL DEFAULT 0,
    -- Everything up to this entry is erased, though rows may be left for a moment.
    gone       uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- Between here and what was copied before something was lost.
    gap        uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- How many messages there are.
    kept       bigint NOT NULL DEFAULT 0
);

CREATE INDEX archive_by_newest ON chat.archive (upto);

CREATE TABLE chat.messages (
    room      text COLLATE "C" NOT NULL,
    id        uuid NOT NULL,
    -- Sender, what the door noted, and the text, unless it was edited.
    body      bytea NOT NULL,
    -- The last edit: its place in the room, and the text.
    edit      bytea,
    -- A list of emoji, each with those who reacted, in JSON.
    reactions bytea,
    -- The words of the text as it is now, and the room.
    words     tsvector NOT NULL,
    PRIMARY KEY (room, id)
);

CREATE INDEX messages_by_word ON chat.messages USING gin (words);

CREATE TABLE chat.changes (
    room   text COLLATE "C" NOT NULL,
    id     uuid NOT NULL,
    -- The message that became another one.
    of     uuid NOT NULL,
    -- What became of it, and who did it; the text of an edit stands with the message.
    change bytea NOT NULL,
    PRIMARY KEY (room, id)
);

CREATE INDEX changes_by_message ON chat.changes (room, of);
