-- How often somebody may have lost access: a server that finds another number here looks at its open connections again.
-- Whoever takes access away in Propromo's tables may count up as `propromo-chat account revoke` does:
-- UPDATE chat.access SET changes = changes + 1
CREATE TABLE chat.access (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    changes bigint NOT NULL
);

INSERT INTO chat.access (changes) VALUES (0);

CREATE FUNCTION chat.access_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN UPDATE chat.access SET changes = changes + 1; RETURN NULL; END $$;

CREATE TRIGGER access_room_gone AFTER DELETE ON chat.rooms
FOR EACH ROW EXECUTE FUNCTION chat.access_changed();

CREATE TRIGGER access_room_locked AFTER UPDATE OF password ON chat.rooms
FOR EACH ROW WHEN (new.password IS DISTINCT FROM old.password) EXECUTE FUNCTION chat.access_changed();
