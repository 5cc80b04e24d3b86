-- How far an account has read a room: the id of a message.
CREATE TABLE chat.reads (
    account bigint NOT NULL,
    room    text NOT NULL,
    id      uuid NOT NULL,
    PRIMARY KEY (account, room)
);
