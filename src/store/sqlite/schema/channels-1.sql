-- Who has begun a channel or a stream: `account:ID`, `key:NAME` or `streams`.
CREATE TABLE channels (
    room     TEXT PRIMARY KEY,
    beginner TEXT NOT NULL,
    -- Unix milliseconds.
    begun    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX channels_by_beginner ON channels (beginner);

CREATE TRIGGER channels_account_gone AFTER DELETE ON users
BEGIN DELETE FROM channels WHERE beginner = 'account:' || old.id; END;
