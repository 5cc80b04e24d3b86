-- How often somebody may have lost access: a server that finds another number here looks at its open connections again.
CREATE TABLE access (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    changes      INTEGER NOT NULL,
    -- The greatest number that an account ever had. It is never given again: tokens outlive accounts.
    last_account INTEGER NOT NULL
);

INSERT INTO access SELECT 1, 0, coalesce(max(id), 0) FROM users;

CREATE TRIGGER access_account_added AFTER INSERT ON users
BEGIN UPDATE access SET last_account = max(last_account, new.id); END;

CREATE TRIGGER access_account_gone AFTER DELETE ON users
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_monitor_gone AFTER DELETE ON monitors
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_member_gone AFTER DELETE ON monitor_user
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_room_gone AFTER DELETE ON chat_rooms
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_room_locked AFTER UPDATE OF password ON chat_rooms WHEN new.password IS NOT old.password
BEGIN UPDATE access SET changes = changes + 1; END;
