-- A mark of the address that made the room, to bound how many one address makes. NULL: it is older than this column.
ALTER TABLE chat_rooms ADD COLUMN made_from BLOB;
CREATE INDEX chat_rooms_by_address ON chat_rooms (made_from);
