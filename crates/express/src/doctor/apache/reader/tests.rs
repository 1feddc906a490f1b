//! Files of a configuration, and what is read of them.

use std::fs;

use super::*;

/// Returns what is read of these files, one line each, and the problems; `@` is the directory.
fn lines(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().display().to_string();
    for (name, content) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.replace('@', &root)).unwrap();
    }
    let conditions = Conditions {
        root: directory.path().to_owned(),
        version: Some("2.4.62".to_owned()),
        built_in: ["core", "so", "http_core", "unixd"].map(str::to_owned).to_vec(),
        environment: [(b"HOME".to_vec(), b"/root".to_vec())].into(),
        defines: vec!["GIVEN".to_owned()],
    };
    let content = read(&directory.path().join(files[0].0), &conditions);
    let mut shown = Vec::new();
    show(&content.lines, &root, &mut shown);
    let problem = |problem: Problem| {
        let line = problem.position.map_or(0, |position| position.line);
        format!("{line}: {}", problem.text.replace(&root, "@"))
    };
    (shown, content.problems.into_iter().map(problem).collect())
}

fn show(lines: &[Line], root: &str, out: &mut Vec<String>) {
    for line in lines {
        let file = display(&line.position.file).replace(root, "").trim_start_matches('/').to_owned();
        let arguments = display(&line.arguments).replace(root, "@");
        out.push(format!("{file}:{} {} {arguments}", line.position.line, line.name));
        show(&line.children, root, out);
        if line.name.starts_with('<') {
            out.push("end".to_owned());
        }
    }
}

#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let (found, problems) = lines(files);
    assert_eq!(found, expected);
    assert_eq!(problems, [""; 0]);
}

#[test]
fn conditions_are_executed() {
    let content = "\
        <IfModule mod_x.c>\nA 1\n</IfModule>\n<IfModule !x_module>\nA 2\n<IfDefine GIVEN>\nA 3\n</IfDefine>\n</IfModule>\n\
        LoadModule x_module m/mod_x.so\n<IfModule mod_x.c>\nA 4\n</IfModule>\n<IfModule unixd_module >\nA 5\n</IfModule>\n\
        <IfModule core.c>\nA 6\n</IfModule>\n<IfDefine !GIVEN>\n<Location /x>\nA 7\n</Location>\n</IfDefine>\n\
        <IfVersion >= 2.4.6>\nA 8\n</IfVersion>\n<IfVersion < 2.4>\nA 9\n</IfVersion>\n<IfFile \"main\">\nA 10\n</IfFile>\n\
        <IfFile none>\nA 11\n</IfFile>\n<ifmodule mpm_event_module>\nA 12\n</ifmodule>\n<IfDirective WSGIPythonHome>\nA 13\n</IfDirective>\n";
    check(
        &[("main", content)],
        &[
            "main:5 A 2",
            "main:7 A 3",
            "main:12 A 4",
            "main:15 A 5",
            "main:18 A 6",
            "main:26 A 8",
            "main:32 A 10",
        ],
    );
}

#[test]
fn variables_are_expanded() {
    let content = "A ${HOME}/x $HOME ${NONE}\nDefine E \"\"\nA ${E}\nDefine V \"a b\"\nA \"${V}\" ${\nUnDefine V\nA ${V}\n<Directory ${HOME}>\n</Directory>\n";
    check(
        &[("main", content)],
        &[
            "main:1 A /root/x $HOME ${NONE}",
            "main:3 A ${E}",
            "main:5 A \"a b\" ${",
            "main:7 A ${V}",
            "main:8 <Directory /root",
            "end",
        ],
    );
}

#[test]
fn files_are_included() {
    let main = "ServerRoot @/root\nInclude a.conf\nIncludeOptional none/*.conf\nIncludeOptional nothing\n<VirtualHost *>\nInclude \"sites/[ab]*\"\n\
                </VirtualHost>\nInclude directory\nInclude @/root/s*/b\n";
    let files = [
        ("main", main),
        ("root/a.conf", "A 1"),
        ("root/sites/b", "B 1\n"),
        ("root/sites/aa", "A 2\n<Location /x>\nC 1\n</Location>"),
        ("root/sites/c", "never\n"),
        ("root/directory/sub/z", "Z 1\n"),
        ("root/directory/.hidden", "H 1\n"),
    ];
    check(
        &files,
        &[
            "root/a.conf:1 A 1",
            "main:5 <VirtualHost *",
            "root/sites/aa:1 A 2",
            "root/sites/aa:2 <Location /x",
            "root/sites/aa:3 C 1",
            "end",
            "root/sites/b:1 B 1",
            "end",
            "root/directory/.hidden:1 H 1",
            "root/directory/sub/z:1 Z 1",
            "root/sites/b:1 B 1",
        ],
    );
}

#[test]
fn macros_are_used() {
    let content = "<Macro Host $name $n>\n<VirtualHost *>\nServerName $name\n<IfDefine GIVEN>\nA $n ${HOME}\n</IfDefine>\nUse inner\n\
                   </VirtualHost>\n</Macro>\n<Macro inner>\nB 1\n</Macro>\nUse host \"a.b\" 1\nUndefMacro Host\n";
    check(
        &[("main", content)],
        &["main:2 <VirtualHost *", "main:3 ServerName a.b", "main:5 A 1 /root", "main:11 B 1", "end"],
    );
}

#[test]
fn what_cannot_be_read_is_told() {
    let (found, problems) =
        lines(&[("main", "Include none\nInclude n*\nUse m\n<Location /x>\nA 1\n</IfModule>\n")]);
    assert_eq!(found, ["main:4 <Location /x", "main:5 A 1", "end"]);
    let expected = [
        "1: @/none cannot be read",
        "2: @/n* is not included",
        "3: There is no macro 'm'",
        "6: </IfModule> closes no section",
        "4: <Location> is not closed",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}");
    }
    let (_, problems) = lines(&[("main", "Include main\n")]);
    assert_eq!(problems, ["1: @/main includes itself"]);
    let (_, problems) = lines(&[("main", "<Macro m>\nUse m\n</Macro>\nUse m\n")]);
    assert!(problems[0].contains("nested too deeply"), "{problems:?}");
}

#[test]
fn a_configuration_without_end_is_left() {
    let includes = "Include main\nIncludeOptional main\nIncludeOptional m*n\n";
    assert_eq!(lines(&[("main", includes)]).1, ["1: @/main includes itself"]);
    let uses = "<Macro m>\nUse m\nUse m\nUse m\n</Macro>\nUse m\n";
    assert_eq!(lines(&[("main", uses)]).1.len(), 3);
    let mut laughs = "<Macro m0>\nA 1\n</Macro>\n".to_owned();
    let mut doubled = "Define d0 xxxxxxxx\n".to_owned();
    for level in 1..16 {
        let uses = format!("Use m{}\n", level - 1).repeat(10);
        laughs += &format!("<Macro m{level}>\n{uses}</Macro>\n");
    }
    for level in 1..40 {
        doubled += &format!("Define d{level} ${{d{0}}}${{d{0}}}\n", level - 1);
    }
    let (_, problems) = lines(&[("main", &format!("{laughs}Use m15\n"))]);
    assert!(problems.len() == 1 && problems[0].ends_with("too many lines are read"), "{problems:?}");
    let (_, problems) = lines(&[("main", &doubled)]);
    assert!(!problems.is_empty() && problems[0].ends_with("the line is too long"), "{problems:?}");
    let (_, problems) = lines(&[("main", &"<Location /x>\n".repeat(200_000))]);
    assert!(problems.len() == MOST_PROBLEMS && problems[0].ends_with("too deeply"), "{problems:?}");
}

#[test]
fn only_regular_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let main = directory.path().join("main");
    fs::write(&main, "Include pipe\nInclude /dev/zero\nInclude /dev/null\nA 1\n").unwrap();
    let conditions = Conditions { root: directory.path().to_owned(), ..Conditions::default() };
    let content = read(&main, &conditions);
    assert_eq!((content.lines.len(), content.problems.len()), (1, 2), "{:?}", content.problems);
    assert!(content.problems.iter().all(|problem| problem.text.ends_with("not a regular file")));
}
