use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::stat::Mode;
use proptest::prelude::*;

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                      some:x:1000:1000:Some Body,,,:/home/some:/bin/sh\n\
                      other:x:1000:1:second of the id:/home/other:/bin/sh\n\
                      bare:x:1001:1:no shell:/srv\n";

/// Returns a jail with these files.
fn jail(passwd: Option<&str>, group: Option<&str>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let etc = directory.path().join("etc");
    fs::create_dir(&etc).unwrap();
    for (name, text) in [("passwd", passwd), ("group", group)] {
        if let Some(text) = text {
            fs::write(etc.join(name), text).unwrap();
            set_mode(&etc.join(name), 0o644);
        }
    }
    for path in [directory.path(), &etc] {
        set_mode(path, 0o755);
    }
    directory
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the reason why a user is not known.
fn unknown(jail: &tempfile::TempDir, uid: u32) -> String {
    Jail::open(jail.path()).unwrap().user(uid).unwrap_err()
}

#[test]
fn users_come_from_the_jail() {
    let entry = |name: &str, home: &str| Some(Entry { name: name.into(), home: home.into() });
    let of = |uid| user(PASSWD.as_bytes(), uid);
    assert_eq!((of(0), of(1000)), (entry("root", "/root"), entry("some", "/home/some")));
    assert_eq!((of(1001), of(1)), (entry("bare", "/srv"), None));
    let jail = jail(Some(PASSWD), None);
    assert_eq!(Jail::open(jail.path()).unwrap().user(1000).ok(), entry("some", "/home/some"));
    assert!(unknown(&jail, 7).starts_with("has no entry in "), "{}", unknown(&jail, 7));
}

#[test]
fn lines_that_make_no_sense_are_none() {
    for line in [
        "",
        "some",
        "some:x:1000",
        "some:x:1000:1000:text",
        ":x:1000:1000::/home:",
        "#some:x:1000:1000::/home:",
        "+some:x:1000:1000::/home:",
        "some:x: 1000:1000::/home:",
        "some:x:+1000:1000::/home:",
        "some:x:1000x:1000::/home:",
        "some:x:99999999999:1000::/home:",
        "some:x:1000:1000::home:",
        "some:x:1000:1000:::",
        "some:x:1000:1000::/ho\0me:",
        "some:x:1000:1000::/ho\u{1b}[2Jme:",
        "so\rme:x:1000:1000::/home:",
    ] {
        assert_eq!(user(line.as_bytes(), 1000), None, "{line:?}");
    }
    assert_eq!(user(b"so\xffme:x:1000:1000::/home:", 1000), None);
    assert_eq!(number(b"4294967295"), None);
    assert_eq!(number(b"4294967294"), Some(u32::MAX - 1));
}

#[test]
fn a_user_has_the_groups_that_list_it() {
    let text = b"root:x:0:\nown:x:1000:\nfirst:x:7:other,some\nsecond:x:8:some\nsome:x:9:somebody\nagain:x:7:some\n\
                 broken:x:nine:some\n:x:11:some\nshort:x:12\nlong:x:13:some:\nprimary:x:1000:some\nnone:x:4294967295:some\n";
    assert_eq!(groups(text, "some", 1000), (vec![1000, 7, 8], false));
    assert_eq!(groups(b"", "some", 5), (vec![5], false));
}

#[test]
fn the_group_of_root_is_not_given_by_a_jail() {
    let text = "root:x:0:some\nreally:x:0:some\nfirst:x:7:some\n";
    assert_eq!(groups(text.as_bytes(), "some", 1000), (vec![1000, 7], true));
    assert_eq!(groups(text.as_bytes(), "some", 0), (vec![0, 7], false), "the configuration has given it");
    let jail = jail(Some(PASSWD), Some(text));
    let Groups { ids, denied } = Jail::open(jail.path()).unwrap().groups("some", 1000);
    assert_eq!(ids, [1000, 7]);
    assert!(denied.is_some_and(|text| text.contains("id 0") && text.contains("supplementary-groups=")));
}

#[test]
fn groups_are_believed_only_where_nobody_else_can_write() {
    let jail = jail(Some(PASSWD), Some("first:x:7:some\n"));
    let groups = |name| Jail::open(jail.path()).unwrap().groups(name, 1000);
    assert_eq!(groups("some"), Groups { ids: vec![1000, 7], denied: None });
    for (path, mode) in [("", 0o755), ("etc", 0o755), ("etc/passwd", 0o644), ("etc/group", 0o644)] {
        for more in [0o020, 0o002] {
            set_mode(&jail.path().join(path), mode | more);
            let Groups { ids, denied } = groups("some");
            assert_eq!(ids, [1000], "{path}");
            assert!(denied.is_some_and(|text| text.contains("supplementary-groups=")), "{path}");
            assert_eq!(groups("other").denied, None, "nothing to complain of");
        }
        set_mode(&jail.path().join(path), mode);
    }
    if os::accounts::is_root() {
        std::os::unix::fs::chown(jail.path().join("etc/group"), Some(1000), None).unwrap();
        assert_eq!(groups("some").ids, [1000]);
    }
}

#[test]
fn without_files_there_are_no_users_and_groups() {
    let empty = jail(None, None);
    let said = unknown(&empty, 1000);
    assert!(said.contains("etc/passwd cannot be read (") && said.contains("No such file"), "{said}");
    let groups = Jail::open(empty.path()).unwrap().groups("some", 1000);
    assert_eq!(groups, Groups { ids: vec![1000], denied: None });
    assert!(Jail::open(&empty.path().join("no")).is_err());
}

#[test]
fn links_lead_nowhere_else() {
    let outside = jail(Some(PASSWD), Some("first:x:7:some\n"));
    let of = |target: &Path| {
        let jail = jail(None, None);
        symlink(target, jail.path().join("etc/passwd")).unwrap();
        symlink(target.with_file_name("group"), jail.path().join("etc/group")).unwrap();
        jail
    };
    let absolute = of(&outside.path().join("etc/passwd"));
    let relative = of(&Path::new("../../../../../../../..")
        .join(outside.path().strip_prefix("/").unwrap())
        .join("etc/passwd"));
    let magic = of(Path::new("/proc/self/root/etc/passwd"));
    for jail in [&absolute, &relative, &magic] {
        assert!(unknown(jail, 1000).contains("cannot be read"), "{}", unknown(jail, 1000));
        assert_eq!(Jail::open(jail.path()).unwrap().groups("some", 1000).ids, [1000]);
    }
    // The whole directory, too.
    let directory = tempfile::tempdir().unwrap();
    symlink(outside.path().join("etc"), directory.path().join("etc")).unwrap();
    assert!(unknown(&directory, 1000).contains("cannot be read"));
    // Those that stay inside are followed, from the jail's root.
    let inside = of(Path::new("/users/passwd"));
    fs::create_dir(inside.path().join("users")).unwrap();
    fs::write(inside.path().join("users/passwd"), PASSWD).unwrap();
    assert_eq!(Jail::open(inside.path()).unwrap().user(1000).unwrap().name, "some");
}

#[test]
fn only_regular_files_of_a_bounded_size_are_read() {
    let pipe = jail(None, None);
    nix::unistd::mkfifo(&pipe.path().join("etc/passwd"), Mode::S_IRWXU).unwrap();
    assert!(unknown(&pipe, 1000).contains("not a regular file"), "{}", unknown(&pipe, 1000));
    let directory = jail(None, None);
    fs::create_dir(directory.path().join("etc/passwd")).unwrap();
    assert!(unknown(&directory, 1000).contains("not a regular file"));
    let long = jail(Some(PASSWD), None);
    let file = File::options().write(true).open(long.path().join("etc/passwd")).unwrap();
    file.set_len(LONGEST).unwrap();
    assert!(Jail::open(long.path()).unwrap().user(1000).is_ok());
    file.set_len(LONGEST + 1).unwrap();
    assert!(unknown(&long, 1000).contains("longer than"), "{}", unknown(&long, 1000));
    // As long as it is said to be, or not.
    file.set_len(1 << 40).unwrap();
    assert!(unknown(&long, 1000).contains("longer than"));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(
        text in proptest::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b":,\n0169ax/+#"[..])], 0..300),
        id in 0..20_u32,
    ) {
        if let Some(entry) = user(&text, id) {
            prop_assert!(entry.home.is_absolute() && !entry.name.contains(char::is_control));
        }
        let (ids, _) = groups(&text, "a", 5);
        prop_assert!(ids[0] == 5 && !ids[1..].contains(&0) && !ids.contains(&u32::MAX));
        prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}
