-- Who moderates a monitor's room.
CREATE TABLE moderators (
    monitor INTEGER NOT NULL REFERENCES monitors (id) ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (monitor, account)
) WITHOUT ROWID;

CREATE INDEX moderators_by_account ON moderators (account);

-- Who says nothing in a room for now. A mute whose time is over is deleted with the next one.
CREATE TABLE mutes (
    account INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    room    TEXT NOT NULL,
    -- Unix milliseconds; the greatest number: until it is taken back.
    until   INTEGER NOT NULL,
    PRIMARY KEY (account, room)
) WITHOUT ROWID;

CREATE INDEX mutes_by_end ON mutes (until);

-- A new monitor of the same hash has another room.
CREATE TRIGGER mutes_monitor_gone AFTER DELETE ON monitors
BEGIN DELETE FROM mutes WHERE room = 'monitor:' || old.monitor_hash; END;

CREATE TRIGGER access_moderator_added AFTER INSERT ON moderators
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_moderator_gone AFTER DELETE ON moderators
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_muted AFTER INSERT ON mutes
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_muted_again AFTER UPDATE ON mutes
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_unmuted AFTER DELETE ON mutes
BEGIN UPDATE access SET changes = changes + 1; END;
