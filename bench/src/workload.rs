//! The requests to the servers. The applications are in `bench/apps`.

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
    /// By wrk for the length of a round, over each of these numbers of connections.
    Timed(&'static [u32]),
    /// This many times over one connection: the time is the whole round's. (A round of wrk would
    /// end in the middle of a large transfer.)
    Counted { requests: u32, bytes: u64 },
}

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;

/// Size of the file that `file` sends; the server makes it.
pub(crate) const FILE_SIZE: u64 = 100 * MB;

/// The smallest one.
pub(crate) const HELLO: Workload = Workload {
    name: "hello",
    url: "/hello",
    post: None,
    answer: Answer::Text("Hello World!\n"),
    repeat: Repeat::Timed(&[1, 4, 16]),
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
    },
    Workload {
        name: "json",
        url: "/json",
        post: None,
        answer: Answer::Length(356),
        repeat: Repeat::Timed(&[4]),
    },
    Workload {
        name: "large",
        url: "/large",
        post: None,
        answer: Answer::Length(MB),
        repeat: Repeat::Timed(&[4]),
    },
    Workload {
        name: "form",
        url: "/form",
        post: Some(4 * KB),
        answer: Answer::Text("4096\n"),
        repeat: Repeat::Timed(&[4]),
    },
    Workload {
        name: "cpu",
        url: "/cpu",
        post: None,
        answer: Answer::Text("19999\n"),
        repeat: Repeat::Timed(&[4]),
    },
    Workload {
        name: "stream",
        url: "/stream",
        post: None,
        answer: Answer::Length(100 * MB),
        repeat: Repeat::Counted { requests: 8, bytes: 100 * MB },
    },
    Workload {
        name: "file",
        url: "/file",
        post: None,
        answer: Answer::Length(FILE_SIZE),
        repeat: Repeat::Counted { requests: 20, bytes: FILE_SIZE },
    },
    Workload {
        name: "upload",
        url: "/upload",
        post: Some(50 * MB),
        answer: Answer::Text("52428800\n"),
        repeat: Repeat::Counted { requests: 8, bytes: 50 * MB },
    },
];

/// The yardstick: the answer of `hello` as a file that Apache itself serves.
pub(crate) const STATIC_FILE: Workload = Workload {
    name: "static file",
    url: "/hello.txt",
    post: None,
    answer: Answer::Text("Hello World!\n"),
    repeat: Repeat::Timed(&[1, 4, 16]),
};
