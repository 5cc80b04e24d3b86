-- Rooms from which something was trimmed, or that were forgotten or set aside, until the search index has followed. `times`
-- tells whether more was lost meanwhile.
CREATE TABLE shrunk (
    name  TEXT PRIMARY KEY,
    times INTEGER NOT NULL
) WITHOUT ROWID;
