//! What makes two email addresses the same one: here alone, whatever a store thinks of letters.

/// What addresses are compared by.
pub fn key(email: &str) -> String {
    email.to_lowercase()
}

pub fn same(one: &str, other: &str) -> bool {
    key(one) == key(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_case_makes_no_difference() {
        assert!(same("Alice@Example.ORG", "alice@example.org"));
        assert!(same("GRÜSSE@example.org", "grüsse@example.org"));
        // PostgreSQL's `lower` makes an `i` of the first.
        assert!(!same("alİce@example.org", "alice@example.org"));
        assert!(!same("ALİCE@example.org", "alice@example.org"));
    }
}
