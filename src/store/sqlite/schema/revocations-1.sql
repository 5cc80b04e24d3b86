-- How often the access of an account was revoked: tokens that name another number, or another password, open nothing.
CREATE TABLE revocations (
    account INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    count   INTEGER NOT NULL
);

CREATE TRIGGER access_revoked AFTER INSERT ON revocations
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_revoked_again AFTER UPDATE ON revocations
BEGIN UPDATE access SET changes = changes + 1; END;

CREATE TRIGGER access_password_changed AFTER UPDATE OF password ON users WHEN new.password IS NOT old.password
BEGIN UPDATE access SET changes = changes + 1; END;
