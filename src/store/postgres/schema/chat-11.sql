-- Who has begun a channel or a stream: `account:ID`, `key:NAME` or `streams`.
CREATE TABLE chat.channels (
    room     text COLLATE "C" PRIMARY KEY,
    beginner text NOT NULL,
    begun    timestamptz NOT NULL
);

CREATE INDEX channels_by_beginner ON chat.channels (beginner);

-- A mark of the address that made the room, to bound how many one address makes. NULL: it is older than this column.
ALTER TABLE chat.rooms ADD COLUMN made_from bytea;
CREATE INDEX rooms_by_address ON chat.rooms (made_from);
