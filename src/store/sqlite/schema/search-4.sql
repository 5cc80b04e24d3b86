-- The same index without the number of words of each message, which nothing asks for. What an earlier version had is in a file that
-- was removed before this.
DROP TABLE messages;
CREATE VIRTUAL TABLE messages USING fts5(words, tail UNINDEXED, tokenize = 'ascii', detail = 'none', columnsize = 0);
INSERT INTO messages (messages, rank) VALUES ('secure-delete', 1);
