-- What commands have asked for that only the server can do which holds the messages: to erase some.
CREATE TABLE tasks (
    -- Never given again.
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 'sender', 'room' or 'set-aside'.
    kind   TEXT NOT NULL,
    -- An email address or a room; empty once it is done.
    about  TEXT NOT NULL,
    -- Unix seconds.
    since  INTEGER NOT NULL,
    erased INTEGER NOT NULL DEFAULT 0,
    done   INTEGER NOT NULL DEFAULT 0
);

-- A new monitor of the same hash has another room.
CREATE TRIGGER reads_monitor_gone AFTER DELETE ON monitors
BEGIN DELETE FROM reads WHERE room = 'monitor:' || old.monitor_hash; END;
