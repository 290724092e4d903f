//! How systemd writes unit names on the bus.

/// The object path of a unit, such as `/org/freedesktop/systemd1/unit/blog_4041_2eservice`: `_` and two hexadecimal digits
/// for every byte that isn't a letter or a digit, and for a digit at the beginning (sd_bus_path_encode(3)).
#[must_use]
pub(super) fn path_of_unit(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// The unit of an object path such as `/org/freedesktop/systemd1/unit/blog_4041_2eservice`: every byte that isn't a
/// letter or a digit is written as `_` and two hexadecimal digits (systemd's bus_label_escape).
pub(super) fn unit_of_path(path: &str) -> Option<String> {
    let label = path.strip_prefix("/org/freedesktop/systemd1/unit/")?.as_bytes();
    let mut name = Vec::with_capacity(label.len());
    let mut at = 0;
    while at < label.len() {
        if label[at] == b'_' {
            let digits = std::str::from_utf8(label.get(at + 1..at + 3)?).ok()?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            name.push(label[at]);
            at += 1;
        }
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_there_and_back() {
        let path = "/org/freedesktop/systemd1/unit/my_2dblog_4041_2eservice";
        assert_eq!(unit_of_path(path).as_deref(), Some("my-blog@41.service"));
        assert_eq!(path_of_unit("my-blog@41.service"), path);
        assert_eq!(path_of_unit("1a@1.service"), "/org/freedesktop/systemd1/unit/_31a_401_2eservice");
        assert_eq!(unit_of_path("/org/freedesktop/systemd1/unit/a_4"), None);
        assert_eq!(unit_of_path("/elsewhere"), None);
    }
}
