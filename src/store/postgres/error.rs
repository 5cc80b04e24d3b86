//! Why PostgreSQL can't be used.

/// PostgreSQL can't be used, and what to do about it. The sentence includes the cause, and shows URLs without their
/// passwords.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("can't use the database {url}: {cause}")]
    Unusable { url: String, cause: String },
    #[error(
        "the role {role} may not use or make the chat's own tables in {url}; let the owner of the database run: {remedy}"
    )]
    MayNot { url: String, role: String, remedy: String },
    #[error(
        "the schema chat in {url} was made by a newer propromo-chat (its tables are version {version}, this one knows \
         up to {latest}); start that one, or restore a backup from before it"
    )]
    TooNew { url: String, version: i32, latest: i32 },
    #[error(
        "the database {url} takes no writes: it is a hot standby, or set to read only, so no room can be made and no session \
         begun; name the primary"
    )]
    ReadOnly { url: String },
    #[error("can't bring the schema chat in {url} up to date: {cause}")]
    Migration { url: String, cause: String },
}
