-- What the title looks like: two rooms' titles that look the same are the same. NULL: the title is as old as this column
-- and another room's looks the same, or it was not looked at yet.
ALTER TABLE chat_rooms ADD COLUMN skeleton TEXT;
CREATE UNIQUE INDEX chat_rooms_by_skeleton ON chat_rooms (skeleton);
