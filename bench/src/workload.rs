//! The requests to the servers. The applications are in `bench/apps`.

use crate::sizes::WIDEST;

/// A request, how it is repeated, and the answer without which its figures would be worthless.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Path of the URL.
    pub(crate) url: &'static str,
    /// Length of the body of a POST; a GET has none.
    pub(crate) post: Option<u64>,
    pub(crate) answer: Answer,
    pub(crate) repeat: Repeat,
    /// The Python package that the application needs, as `bench/others` installs it.
    pub(crate) package: Option<&'static str>,
}

/// The body of the response.
#[derive(Debug)]
pub(crate) enum Answer {
    Text(&'static str),
    Length(u64),
}

/// The way in which requests are repeated.
#[derive(Debug)]
pub(crate) enum Repeat {
    /// As often as the server answers within the length of a round, over each of these numbers of
    /// connections.
    Timed(&'static [u32]),
    /// The same, with [`SLEEP`] for every tenth request.
    Mixed(&'static [u32]),
    /// This many times over one connection: the time is the whole round's. (A timed round would
    /// end in the middle of a large transfer.)
    Counted { requests: u32, bytes: u64 },
}

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;

/// Size of the file that `file` sends; the server makes it.
pub(crate) const FILE_SIZE: u64 = 100 * MB;

/// The numbers of connections over which the smallest answer is asked for.
const HELLO_CONNECTIONS: &[u32] = &[1, 4, 16, WIDEST];

/// The smallest one.
pub(crate) const HELLO: Workload = Workload {
    name: "hello",
    url: "/hello",
    post: None,
    answer: Answer::Text("Hello World!\n"),
    repeat: Repeat::Timed(HELLO_CONNECTIONS),
    package: None,
};

/// The URL of [`HELLO`] behind a password.
pub(crate) const CLOSED: &str = "/closed";

/// All workloads, in the order of the tables.
pub(crate) const WORKLOADS: &[Workload] = &[
    HELLO,
    Workload {
        name: "password",
        url: CLOSED,
        post: None,
        answer: Answer::Text("Hello World!\n"),
        repeat: Repeat::Timed(&[1, 4, 16]),
        package: None,
    },
    Workload {
        name: "json",
        url: "/json",
        post: None,
        answer: Answer::Length(356),
        repeat: Repeat::Timed(&[4]),
        package: None,
    },
    Workload {
        name: "flask",
        url: "/flask/",
        post: None,
        answer: Answer::Text("Hello World!\n"),
        repeat: Repeat::Timed(&[4]),
        package: Some("flask"),
    },
    Workload {
        name: "django",
        url: "/django/",
        post: None,
        answer: Answer::Text("Hello World!\n"),
        repeat: Repeat::Timed(&[4]),
        package: Some("django"),
    },
    Workload {
        name: "mix",
        url: "/hello",
        post: None,
        answer: Answer::Text("Hello World!\n"),
        repeat: Repeat::Mixed(&[16]),
        package: None,
    },
    Workload {
        name: "large",
        url: "/large",
        post: None,
        answer: Answer::Length(MB),
        repeat: Repeat::Timed(&[4]),
        package: None,
    },
    Workload {
        name: "form",
        url: "/form",
        post: Some(4 * KB),
        answer: Answer::Text("4096\n"),
        repeat: Repeat::Timed(&[4]),
        package: None,
    },
    Workload {
        name: "cpu",
        url: "/cpu",
        post: None,
        answer: Answer::Text("19999\n"),
        repeat: Repeat::Timed(&[4]),
        package: None,
    },
    Workload {
        name: "stream",
        url: "/stream",
        post: None,
        answer: Answer::Length(100 * MB),
        repeat: Repeat::Counted { requests: 8, bytes: 100 * MB },
        package: None,
    },
    Workload {
        name: "file",
        url: "/file",
        post: None,
        answer: Answer::Length(FILE_SIZE),
        repeat: Repeat::Counted { requests: 20, bytes: FILE_SIZE },
        package: None,
    },
    Workload {
        name: "upload",
        url: "/upload",
        post: Some(50 * MB),
        answer: Answer::Text("52428800\n"),
        repeat: Repeat::Counted { requests: 8, bytes: 50 * MB },
        package: None,
    },
];

/// The part of `mix` that waits.
pub(crate) const SLEEP: Workload = Workload { name: "sleep", url: "/sleep", ..HELLO };

/// The yardsticks of `bench/floor`: a handler in C, and one that asks another process.
pub(crate) const FLOOR: Workload = Workload { name: "C handler", url: "/floor", ..HELLO };
pub(crate) const FLOOR_DAEMON: Workload =
    Workload { name: "C handler and process", url: "/floor-daemon", ..HELLO };

/// The yardstick: the answer of `hello` as a file that Apache itself serves.
pub(crate) const STATIC_FILE: Workload = Workload {
    name: "static file",
    url: "/hello.txt",
    post: None,
    answer: Answer::Text("Hello World!\n"),
    repeat: Repeat::Timed(HELLO_CONNECTIONS),
    package: None,
};
