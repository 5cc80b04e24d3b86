-- Who moderates a monitor's room. Numbers are those of Propromo's tables, which never give one again.
CREATE TABLE chat.moderators (
    monitor bigint NOT NULL,
    account bigint NOT NULL,
    PRIMARY KEY (monitor, account)
);

-- Who says nothing in a room for now. A mute whose time is over is deleted with the next one.
CREATE TABLE chat.mutes (
    account bigint NOT NULL,
    room    text NOT NULL,
    -- Unix milliseconds; the greatest number: until it is taken back.
    until   bigint NOT NULL,
    PRIMARY KEY (account, room)
);

CREATE INDEX mutes_by_end ON chat.mutes (until);

CREATE TRIGGER access_moderators AFTER INSERT OR DELETE ON chat.moderators
FOR EACH ROW EXECUTE FUNCTION chat.access_changed();

CREATE TRIGGER access_mutes AFTER INSERT OR UPDATE OR DELETE ON chat.mutes
FOR EACH ROW EXECUTE FUNCTION chat.access_changed();
