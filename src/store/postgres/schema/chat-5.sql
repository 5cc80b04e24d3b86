-- Who stays logged in. Of cookies there are hashes only.
CREATE TABLE chat.sessions (
    id      bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    account bigint NOT NULL,
    epoch   text NOT NULL,
    -- Unix seconds.
    begun   bigint NOT NULL,
    used    bigint NOT NULL,
    current bytea NOT NULL CHECK (octet_length(current) = 32),
    -- The cookies that were used a moment ago: for each SHA-256, salt and time.
    spent   bytea NOT NULL
);

CREATE INDEX sessions_by_account ON chat.sessions (account, used);
CREATE INDEX sessions_by_use ON chat.sessions (used);
