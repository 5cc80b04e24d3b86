//! Times and sizes in the forms that people write: `90`, `500ms`, `1h30m`, `64KiB`, `1MB`.

/// The notation of one kind of amount.
pub struct Scale {
    /// Largest first, each with its names; the first name is used for output.
    units: &'static [(&'static [&'static str], u64)],
    /// The unit of a number without a unit.
    bare: u64,
    /// Whether amounts may be sums, as in `1h30m`.
    sums: bool,
    any_case: bool,
}

/// In milliseconds. A bare number is in seconds. Names are in lower case only: elsewhere `M` is a month.
pub static TIME: Scale = Scale {
    units: &[(&["d"], 86_400_000), (&["h"], 3_600_000), (&["m", "min"], 60_000), (&["s"], 1000), (&["ms"], 1)],
    bare: 1000,
    sums: true,
    any_case: false,
};

/// In bytes. There is no `K` or `M`, which some programs read as 1,000 and others as 1,024.
pub static SIZE: Scale = Scale {
    units: &[
        (&["TiB"], 1 << 40),
        (&["TB"], 1_000_000_000_000),
        (&["GiB"], 1 << 30),
        (&["GB"], 1_000_000_000),
        (&["MiB"], 1 << 20),
        (&["MB"], 1_000_000),
        (&["KiB"], 1 << 10),
        (&["kB"], 1000),
        (&["B"], 1),
    ],
    bare: 1,
    sums: false,
    any_case: true,
};

impl Scale {
    /// Parses an amount; `None` if the text is not one, or if it does not fit into 64 bits.
    pub fn parse(&self, text: &str) -> Option<u64> {
        let mut rest = text.trim();
        if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
            return rest.parse::<u64>().ok()?.checked_mul(self.bare);
        }
        let (mut sum, mut larger) = (0u64, None);
        loop {
            let (digits, behind) = rest.split_at(run(rest, |b| b.is_ascii_digit()));
            let behind = behind.trim_start();
            let (name, behind) = behind.split_at(run(behind, |b| b.is_ascii_alphabetic()));
            let unit = self.units.iter().position(|(names, _)| names.iter().any(|known| self.same(known, name)))?;
            // Each unit once, and larger ones first: `30m1h` and `1h1h` are slips.
            if larger.is_some_and(|larger| larger >= unit || !self.sums) {
                return None;
            }
            larger = Some(unit);
            sum = sum.checked_add(digits.parse::<u64>().ok()?.checked_mul(self.units[unit].1)?)?;
            rest = behind.trim_start();
            if rest.is_empty() {
                return Some(sum);
            }
        }
    }

    /// Formats an amount in the shortest form that can be parsed again.
    pub fn format(&self, amount: u64) -> String {
        let mut text = String::new();
        let mut left = amount;
        for (names, size) in self.units {
            let whole = self.sums || left.is_multiple_of(*size);
            if left >= *size && whole {
                text += &format!("{}{}", left / size, names[0]);
                left %= size;
            }
        }
        if text.is_empty() { "0".into() } else { text }
    }

    fn same(&self, known: &str, name: &str) -> bool {
        if self.any_case { known.eq_ignore_ascii_case(name) } else { known == name }
    }
}

/// How many bytes at the start of `text` are of a kind.
fn run(text: &str, kind: impl Fn(&u8) -> bool) -> usize {
    text.bytes().take_while(kind).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_with_and_without_units() {
        for (text, milliseconds) in [
            ("0", 0),
            ("90", 90_000),
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("5min", 300_000),
            ("1h30m", 5_400_000),
            (" 1h 30 m ", 5_400_000),
            ("2d", 172_800_000),
            ("1d1h1m1s1ms", 90_061_001),
        ] {
            assert_eq!(TIME.parse(text), Some(milliseconds), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("1kB", 1000),
            ("1MB", 1_000_000),
            ("16MiB", 16 << 20),
            ("2GiB", 2 << 30),
            ("7B", 7),
        ] {
            assert_eq!(SIZE.parse(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", " ", "m", "5 5", "5x", "-5m", "+5m", "1.5h", "1e3", "5M", "30m1h", "1h1h", "1h30", "1 h,30 m"]
        {
            assert_eq!(TIME.parse(text), None, "{text}");
        }
        for text in ["64k", "64K", "1M", "1GiB512MiB", "1.5GiB", "-1", "KiB", "1KiB2"] {
            assert_eq!(SIZE.parse(text), None, "{text}");
        }
    }

    #[test]
    fn more_than_fits_is_refused() {
        let most = u64::MAX.to_string();
        assert_eq!(SIZE.parse(&most), Some(u64::MAX));
        for text in [most.clone() + "0", most.clone() + "KiB", "16777216TiB".into()] {
            assert_eq!(SIZE.parse(&text), None, "{text}");
        }
        for text in [most.clone(), most.clone() + "s", format!("1s{most}ms")] {
            assert_eq!(TIME.parse(&text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_written_as_people_write_them() {
        let times =
            [(0, "0"), (500, "500ms"), (60_000, "1m"), (5_400_000, "1h30m"), (604_800_000, "7d"), (75_000, "1m15s")];
        for (amount, text) in times {
            assert_eq!(TIME.format(amount), text);
        }
        for (amount, text) in [(0, "0"), (65_536, "64KiB"), (1_000_000, "1MB"), (1500, "1500B"), (1 << 30, "1GiB")] {
            assert_eq!(SIZE.format(amount), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(amount: u64, small in 0u64..100_000_000) {
            for scale in [&TIME, &SIZE] {
                for amount in [amount, small, small * 1000, small * 1024] {
                    prop_assert_eq!(scale.parse(&scale.format(amount)), Some(amount));
                }
            }
        }

        #[test]
        fn no_text_panics(any in "\\PC*", near in "[0-9dhms KMGTiB]{0,24}") {
            for text in [any, near] {
                let _ = (TIME.parse(&text), SIZE.parse(&text));
            }
        }
    }
}
