//! The tables of one store, in a file that holds several.

use super::{database::Pool, error::failed};
use crate::store::error::StoreError;
use rusqlite::Connection;

#[derive(Clone)]
pub struct Tables {
    pool: Pool,
    /// The store's name in errors.
    store: &'static str,
}

impl Tables {
    pub fn new(pool: Pool, store: &'static str) -> Tables {
        Tables { pool, store }
    }

    /// The tables of another store in the same file.
    pub fn of(&self, store: &'static str) -> Tables {
        Tables { store, ..self.clone() }
    }

    /// Runs `work` on a connection. An error names `what`.
    pub fn with<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.pool.get().map_err(failed(self.store, what))?;
        work(&mut connection).map_err(failed(self.store, what))
    }
}
