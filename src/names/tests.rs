use super::*;

pub(super) fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(text.parse::<T>().is_ok(), "`{text}` should be taken");
    }
    for text in bad {
        assert!(text.parse::<T>().is_err(), "`{text}` should be refused");
    }
}

#[test]
fn service_names() {
    let longest = format!("a{}", "b".repeat(39));
    let too_long = format!("a{}", "b".repeat(40));
    check::<ServiceName>(
        &["a", "blog", "a-1", "my-blog2", &longest],
        &[
            "",
            "-a",
            "a-",
            "1a",
            "A",
            "a_b",
            "a.b",
            "a b",
            "a/b",
            "..",
            "é",
            "a\n",
            "available",
            "status",
            "build-1",
            "podkeeper",
            &too_long,
        ],
    );
}

#[test]
fn commits_branches_hosts_keys_numbers() {
    let sha = "0123456789abcdef0123456789abcdef01234567";
    check::<CommitId>(&[sha], &["", "HEAD", "0123", &sha.to_uppercase(), &format!("{sha}0")]);
    check::<BranchName>(
        &["main", "feature/x", "v1.2", "a@b"],
        &[
            "",
            "-x",
            "a..b",
            "a b",
            "a/",
            "/a",
            "a.lock",
            ".a",
            "a:b",
            "@",
            "a@{1}",
            "a\u{7f}",
            "a.",
            "a\u{9b}2J",
            "a\u{202e}b",
        ],
    );
    check::<HostName>(
        &["blog.localhost", "a.b-c.de", "1.example", "0x1.b"],
        &[
            "",
            ".a",
            "a..b",
            "-a.b",
            "A.b",
            "../x",
            "*",
            "a_b",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "a.0x7f",
            "a.0x",
            "::1",
            "[::1]",
            "0x7f000001",
        ],
    );
    check::<RegistryHost>(
        &["docker.io", "localhost:5000", "registry.example.org:65535", "10.0.0.1"],
        &["", ":5000", "a:", "a:0", "a:05", "a:65536", "a:b", "a:1:2", "https://a", "a/b", "A", "../x", "u@a", "-a"],
    );
    check::<EnvKey>(&["A", "_x", "PATH_2"], &["", "2A", "A-B", "A B", "A=B", "É"]);
    check::<SessionId>(&["abcdefgh", "a2345672"], &["", "abcdefg", "abcdefghi", "ABCDEFGH", "abcdefg1", "../../.."]);
    check::<ReleaseNumber>(&["1", "41"], &["", "0", "-1", "+1", "01", "4294967296", "x"]);
    for (number, good) in [("41", true), ("0", false), ("-1", false), ("4294967296", false)] {
        assert_eq!(serde_json::from_str::<ReleaseNumber>(number).is_ok(), good, "{number}");
    }
}

#[test]
fn a_hooks_key_signs_with_what_its_base64_holds_and_is_never_shown() {
    let key = HookKey::from_random([7; 32]).expect("it needs no escape");
    assert_eq!((key.as_str().len(), key.signing_bytes()), (50, vec![7; 32]));
    assert_eq!(key.as_str().parse(), Ok(key.clone()));
    assert_eq!(format!("{key:?}"), "HookKey(***)");
    assert_eq!(HookKey::from_random([0xff; 32]), None);
    let own: HookKey = "It's a Secret to Everybody".parse().expect("any text may be a key");
    assert_eq!(own.signing_bytes(), own.as_str().as_bytes());
    check::<HookKey>(
        &[],
        &["", "short", &"a".repeat(201), " a key with spaces around it", "a key with\na line's end in it"],
    );
}

#[test]
fn a_container_belongs_to_one_release() {
    let release = ReleaseName::new(&"my-blog".parse().unwrap(), ReleaseNumber(41));
    assert_eq!(ReleaseName::of_container(&release.container()), Some(release));
    assert_eq!(ReleaseName::of_container("postgres"), None);
    assert_eq!(ReleaseName::of_container("my-blog-x"), None);
}

#[test]
fn a_refused_name_is_shown_short_and_escaped() {
    let error = "x\u{1b}[31m".repeat(50).parse::<ServiceName>().expect_err("it is no name");
    assert!(!error.to_string().contains('\u{1b}'));
    assert!(error.to_string().len() < 500);
}
