//! Tells PEM text (RFC 7468) from a secret or a path.

/// Whether a setting is PEM text, rather than a secret or the path of a file.
pub fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}
