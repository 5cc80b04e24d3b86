//! Finds names that are nearly those of settings: their author thinks that they have an effect.

use super::settings::ALL;

/// Names of other programs that differ from ours by only a slip.
const OF_OTHERS: [&str; 1] = ["SSL_CERT_FILE"];

/// The setting that `name` was probably meant to be, if it is not a setting itself.
pub fn meant(name: &str) -> Option<String> {
    let files = |setting: &'static super::settings::Setting| {
        setting.names().filter(|_| setting.may_be_a_file()).map(|name| format!("{name}_FILE"))
    };
    let known: Vec<String> =
        ALL.iter().flat_map(|setting| setting.names().map(str::to_owned).chain(files(setting))).collect();
    if OF_OTHERS.contains(&name) || known.iter().any(|setting| setting == name) {
        return None;
    }
    let upper = name.to_ascii_uppercase().replace('-', "_");
    // In a short name one slip is much; with two, many words would be near a setting.
    let slips = match upper.len() {
        ..4 => return None,
        4..8 => 1,
        _ => 2,
    };
    let distances = known.into_iter().map(|setting| (distance(&upper, &setting), setting));
    distances.filter(|(distance, _)| *distance <= slips).min().map(|(_, setting)| setting)
}

/// How many letters must be inserted, deleted, replaced, or swapped with their neighbours (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slip_is_seen() {
        for (name, setting) in [
            ("MESAGE_RATE", "MESSAGE_RATE"),
            ("MESSAGE_RATES", "MESSAGE_RATE"),
            ("MAX_CONECTIONS", "MAX_CONNECTIONS"),
            ("DATABASE_ULR", "DATABASE_URL"),
            ("REDIS_URI", "REDIS_URL"),
            ("LISTNE", "LISTEN"),
            ("trusted-proxies", "TRUSTED_PROXIES"),
            ("JWT_PRIVATE_KEY_FIL", "JWT_PRIVATE_KEY_FILE"),
        ] {
            assert_eq!(meant(name).as_deref(), Some(setting), "{name}");
        }
    }

    #[test]
    fn settings_and_other_programs_names_are_let_be() {
        for name in [
            "MESSAGE_RATE",
            "REDIS_URL",
            "JWT_PRIVATE_KEY_FILE",
            "HOME",
            "PATH",
            "PWD",
            "LISTEN_FDS",
            "LOGNAME",
            "SSL_CERT_FILE",
            "TMPDIR",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn one_letter_more_is_one_slip(at in 0usize..11, letter in "[A-Z]") {
            let mut name = String::from("MESSAGE_RATE");
            name.insert_str(at, &letter);
            prop_assert_eq!(distance(&name, "MESSAGE_RATE"), 1);
            prop_assert_eq!(distance("MESSAGE_RATE", &name), 1);
        }

        #[test]
        fn no_name_panics(name in "\\PC*") {
            let _ = meant(&name);
        }
    }
}
