//! The accounts of `serve --demo`, the same as in `dummy/test.sql`.

use super::{
    accounts::SqliteAccounts,
    admin::{AdminError, insert_monitor},
};
use crate::store::{accounts::Monitor, error::StoreError};

pub struct DemoAccount {
    pub name: &'static str,
    pub email: &'static str,
    pub password: &'static str,
    /// Hash of the password, by bcrypt with cost 10.
    hash: &'static str,
    /// Whether it is a member of all demo monitors, or of none.
    pub is_member: bool,
}

pub const ACCOUNTS: [DemoAccount; 3] = [
    DemoAccount {
        name: "Alice Demo",
        email: "alice@propromo.example",
        password: "alice-password",
        hash: "$2y$10$lpFbjRn/YxqoKWxaSKWY8OQfJM2VTeNXqH7k5qm7dlTNFAp8yMl9O",
        is_member: true,
    },
    DemoAccount {
        name: "Bob Demo",
        email: "bob@propromo.example",
        password: "bob-password",
        hash: "$2y$10$eFWjlcp8axl2BUGVZF4WAOR/jxcO7vX0leOoWcM4fbwfgbf1zNqdC",
        is_member: true,
    },
    DemoAccount {
        name: "Carol Demo",
        email: "carol@propromo.example",
        password: "carol-password",
        hash: "$2y$10$ty.HeX0PMdt.VKibdUQl2uYP0SCNEPzuuIyfnkPAq/fWSIWM2i8EW",
        is_member: false,
    },
];

/// The hashes of the demo monitors.
pub const MONITORS: [&str; 2] = ["demo", "$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12"];

impl SqliteAccounts {
    /// Adds the missing demo accounts and monitors, and changes no existing ones.
    pub fn seed_demo(&self) -> Result<(), StoreError> {
        let seeded = self.change("make the demo accounts", |tx| {
            for DemoAccount { name, email, hash, .. } in ACCOUNTS {
                tx.execute(
                    "INSERT INTO users (id, name, email, password, created_at, updated_at)
                     SELECT last_account + 1, ?1, ?2, ?3, strftime('%FT%TZ'), strftime('%FT%TZ') FROM access
                     WHERE true ON CONFLICT DO NOTHING",
                    (name, email, hash),
                )?;
            }
            for monitor in monitors() {
                let hash = &monitor.monitor_hash;
                if !tx.prepare_cached("SELECT 1 FROM monitors WHERE monitor_hash = ?1")?.exists([hash])? {
                    insert_monitor(tx, &monitor)?;
                }
                for DemoAccount { email, .. } in ACCOUNTS.iter().filter(|account| account.is_member) {
                    tx.execute(
                        "INSERT INTO monitor_user (user_id, monitor_id)
                         SELECT users.id, monitors.id FROM users, monitors WHERE email = ?1 AND monitor_hash = ?2
                         ON CONFLICT DO NOTHING",
                        (email, hash),
                    )?;
                }
            }
            Ok(Ok(()))
        });
        match seeded {
            Err(AdminError::Store(error)) => Err(error),
            // The work above never refuses a command; only the store can fail.
            _ => Ok(()),
        }
    }
}

fn monitors() -> [Monitor; 2] {
    [
        Monitor {
            monitor_hash: MONITORS[0].into(),
            organization_name: Some("propromo-software".into()),
            kind: Some("ORGANIZATION".into()),
            title: Some("Demo".into()),
            short_description: Some("A place to try the chat: say hello.".into()),
            public: true,
            created_at: None,
            updated_at: None,
            project_url: Some("https://github.com/orgs/propromo-software/projects/1".into()),
        },
        Monitor {
            monitor_hash: MONITORS[1].into(),
            organization_name: Some("propromo-software".into()),
            kind: Some("ORGANIZATION".into()),
            title: Some("Propromo".into()),
            short_description: Some("A monitor whose hash looks like those that Propromo makes.".into()),
            public: false,
            created_at: None,
            updated_at: None,
            project_url: Some("https://github.com/orgs/propromo-software/projects/2".into()),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{accounts::Accounts, suite::Opened};

    fn open() -> Opened<SqliteAccounts> {
        Opened::new(|dir| SqliteAccounts::open(&dir.join("chat.db")).unwrap())
    }

    #[test]
    fn each_hash_is_of_the_password_that_is_told_to_users() {
        for DemoAccount { name, password, hash, .. } in ACCOUNTS {
            assert!(hash.starts_with("$2y$10$"), "{name}");
            assert!(bcrypt::verify(password, hash).unwrap(), "{name}");
        }
    }

    #[test]
    fn seeding_again_makes_nothing_twice_and_keeps_a_changed_password() {
        let accounts = open();
        accounts.seed_demo().unwrap();
        accounts.set_password("alice@propromo.example", "$2y$10$changed").unwrap();
        let before = accounts.accounts().unwrap();
        accounts.seed_demo().unwrap();
        assert_eq!(accounts.accounts().unwrap(), before);
        assert_eq!(accounts.monitors().unwrap().len(), 2);
        let alice = accounts.by_email("alice@propromo.example").unwrap().unwrap();
        assert_eq!(alice.password_hash, "$2y$10$changed");
    }

    #[test]
    fn the_script_for_postgresql_makes_the_same_accounts_and_monitors() {
        let script = include_str!("../../../dummy/test.sql");
        for DemoAccount { name, email, hash, .. } in ACCOUNTS {
            assert!(script.contains(name) && script.contains(email) && script.contains(hash), "{name}");
        }
        for monitor in monitors() {
            let described = monitor.short_description.unwrap();
            assert!(script.contains(&monitor.monitor_hash) && script.contains(&described), "{described}");
        }
    }
}
