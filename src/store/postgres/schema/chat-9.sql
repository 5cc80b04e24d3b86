-- What `migrate` has copied from an embedded installation: it is not copied again, also if it has gone since.
CREATE TABLE chat.moved (
    what text PRIMARY KEY
);
