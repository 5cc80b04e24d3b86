-- What commands have asked for that only the server can do which holds the messages: to erase some.
CREATE TABLE chat.tasks (
    id     bigserial PRIMARY KEY,
    -- 'sender', 'room' or 'set-aside'.
    kind   text NOT NULL,
    -- An email address or a room; empty once it is done.
    about  text NOT NULL,
    -- Unix seconds.
    since  bigint NOT NULL,
    erased bigint NOT NULL DEFAULT 0,
    done   boolean NOT NULL DEFAULT false
);
