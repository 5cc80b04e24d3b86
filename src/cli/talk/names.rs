//! The display names of users, and which of them could be taken for somebody else.

use crate::likeness::skeleton;
use std::collections::HashMap;

#[derive(Default)]
pub struct Names {
    of_users: HashMap<String, Name>,
    /// How many users have a name that looks like this.
    alike: HashMap<String, usize>,
}

struct Name {
    text: String,
    looks: String,
}

impl Names {
    pub fn learn(&mut self, user: &str, name: &str) {
        if self.get(user) == Some(name) {
            return;
        }
        let looks = skeleton(name);
        *self.alike.entry(looks.clone()).or_default() += 1;
        let Some(old) = self.of_users.insert(user.to_owned(), Name { text: name.to_owned(), looks }) else { return };
        if let Some(users) = self.alike.get_mut(&old.looks) {
            *users -= 1;
            if *users == 0 {
                self.alike.remove(&old.looks);
            }
        }
    }

    pub fn get(&self, user: &str) -> Option<&str> {
        self.of_users.get(user).map(|name| name.text.as_str())
    }

    /// Whether others have this user's name too, or it looks like an address.
    pub fn is_doubtful(&self, user: &str) -> bool {
        self.of_users.get(user).is_some_and(|Name { text, looks }| {
            looks.is_empty() || text.contains('@') || self.alike.get(looks).is_some_and(|users| *users > 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_doubtful_as_long_as_another_has_one_like_it() {
        let mut names = Names::default();
        names.learn("bob@x", "Bob");
        names.learn("bob@x", "Bob");
        assert!(!names.is_doubtful("bob@x") && !names.is_doubtful("nobody@x"));
        names.learn("eve@x", "Вob");
        assert!(names.is_doubtful("bob@x") && names.is_doubtful("eve@x"));
        names.learn("eve@x", "Eve");
        assert!(!names.is_doubtful("bob@x") && !names.is_doubtful("eve@x"));
        names.learn("eve@x", "bob@x");
        assert!(names.is_doubtful("eve@x"));
        assert_eq!((names.get("bob@x"), names.alike.len()), (Some("Bob"), 2));
    }
}
