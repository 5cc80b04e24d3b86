-- Who stays logged in. Of cookies there are hashes only.
CREATE TABLE sessions (
    id      BLOB PRIMARY KEY CHECK (length(id) = 32),
    account INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    epoch   TEXT NOT NULL,
    -- Unix seconds.
    begun   INTEGER NOT NULL,
    used    INTEGER NOT NULL,
    current BLOB NOT NULL CHECK (length(current) = 32),
    -- The cookies that were used a moment ago: for each SHA-256, salt and time.
    spent   BLOB NOT NULL
) WITHOUT ROWID;

CREATE INDEX sessions_by_account ON sessions (account, used);
CREATE INDEX sessions_by_use ON sessions (used);
