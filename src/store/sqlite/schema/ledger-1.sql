CREATE TABLE spent (
    -- SHA-256 of the token's signed part.
    token BLOB PRIMARY KEY,
    -- Unix second from which on the mark is of no use.
    until INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX spent_by_until ON spent (until);
