//! Which version of a language a repository asks for: a number, and whatever else is written there stays where it is.

/// What a list of conditions such as `>=18 <23`, `^20.1`, `20.x || 22` or `>=3.11,<3.13` allows, by the `part`th number of
/// its versions: `usual`, where that fits, else what is nearest to it. None: nothing is asked for that is understood.
pub(super) fn fitting(conditions: &str, part: usize, usual: u32) -> Option<u32> {
    let alternatives = conditions.split("||").filter_map(|all| alternative(all, part, usual));
    let mut alternatives: Vec<u32> = alternatives.collect();
    alternatives.sort_by_key(|number| number.abs_diff(usual));
    alternatives.first().copied()
}

/// The same of conditions that hold together.
fn alternative(all: &str, part: usize, usual: u32) -> Option<u32> {
    let (mut least, mut most, mut known) = (0, u32::MAX, false);
    let range = all.split_once(" - ").map(|(least, most)| format!(">={} <={}", least.trim(), most.trim()));
    // `>= 18` is one condition.
    let joined = range.as_deref().unwrap_or(all).replace("= ", "=").replace("> ", ">").replace("< ", "<");
    for condition in joined.split([' ', ',']).filter(|condition| !condition.is_empty()) {
        let digits = condition.find(|c: char| c.is_ascii_digit())?;
        let (sign, version) = condition.split_at(digits);
        let numbers: Vec<&str> = version.split('.').collect();
        let number: u32 = numbers.get(part)?.parse().ok()?;
        let is_whole = numbers.iter().skip(part + 1).all(|rest| rest.chars().all(|c| c == '0'));
        match sign.trim_start_matches('v') {
            ">=" => least = least.max(number),
            ">" if is_whole && numbers.len() > part + 1 => least = least.max(number),
            ">" => least = least.max(number.checked_add(1)?),
            "<" if is_whole => most = most.min(number.checked_sub(1)?),
            "<" | "<=" => most = most.min(number),
            "!=" => continue,
            "" | "=" | "==" | "===" | "^" | "~" | "~=" => (least, most) = (least.max(number), most.min(number)),
            _ => return None,
        }
        known = true;
    }
    (known && least <= most).then(|| usual.clamp(least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_usual_one_where_that_will_do() {
        for (conditions, number) in [
            (">=18", Some(22)),
            (">= 18", Some(22)),
            (">=24", Some(24)),
            ("^20.1.0", Some(20)),
            ("20.x", Some(20)),
            ("v18.19.1", Some(18)),
            (">=18 <21", Some(20)),
            (">=18 <21.5", Some(21)),
            ("18 - 20", Some(20)),
            ("18 || 20 || >=24", Some(20)),
            ("~16.3", Some(16)),
            (">22", Some(23)),
            ("lts/*", None),
            ("*", None),
            ("", None),
            (">=20 <18", None),
            ("99999999999", None),
            ("$(id)", None),
        ] {
            assert_eq!(fitting(conditions, 0, 22), number, "{conditions}");
        }
        for (conditions, number) in [
            (">=3.11,<3.13", Some(12)),
            (">=3.9", Some(13)),
            ("^3.11", Some(11)),
            ("~=3.12.1", Some(12)),
            ("==3.10.*", Some(10)),
            (">=3.14", Some(14)),
            ("3.12.4", Some(12)),
            (">=3", None),
        ] {
            assert_eq!(fitting(conditions, 1, 13), number, "{conditions}");
        }
    }
}
