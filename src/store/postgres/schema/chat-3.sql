-- How often the access of an account was revoked: tokens that name another number, or another password, open nothing.
CREATE TABLE chat.revocations (
    account bigint PRIMARY KEY,
    count   bigint NOT NULL
);

CREATE TRIGGER access_revoked AFTER INSERT OR UPDATE ON chat.revocations
FOR EACH ROW EXECUTE FUNCTION chat.access_changed();
