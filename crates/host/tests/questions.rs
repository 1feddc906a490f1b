//! Questions to scripts of the server's hooks, as a server's thread asks them.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use bridge::{
    Answer, Bytes, Cgi, Exchange, ExchangeServer, Question, QuestionRoute, RequestFacts, Tag, Topic,
};
use support::{HOST, NoWait, Response, facts, script};

/// More than any answer of these tests takes, unless the script hangs.
const PATIENCE: u32 = 20_000;

fn ask(script: &Path, topic: Topic, arguments: &[&str], time_limit: u32) -> (Answer, Response) {
    ask_about(facts(script.as_os_str().as_encoded_bytes(), "/"), topic, arguments, time_limit)
}

fn ask_about(
    facts: RequestFacts<'_>,
    topic: Topic,
    arguments: &[&str],
    time_limit: u32,
) -> (Answer, Response) {
    let argument = |index: usize| Bytes::optional(arguments.get(index).map(|text| text.as_bytes()));
    let question = Question {
        tag: Tag::of::<Question<'_>>(),
        facts,
        topic: topic as u32,
        time_limit,
        arguments: [argument(0), argument(1)],
        route: QuestionRoute::ABSENT,
    };
    let exchange = ExchangeServer::new(Response::default(), NoWait);
    // SAFETY: the host is started.
    let answer = unsafe { HOST.ask(&question, Exchange::new(&exchange)) };
    let (response, has_panicked) = exchange.end();
    assert!(!has_panicked, "{response:?}");
    (answer, response)
}

fn password(script: &Path, user: &str) -> Answer {
    ask(script, Topic::Password, &[user, "secret"], PATIENCE).0
}

#[test]
fn results_are_answers() {
    let script = script(
        "results.py",
        "
RESULTS = {'yes': True, 'no': False, 'unknown': None, 'renamed': 'J\\xf6rg', 'one': 1, 'empty': ''}
def check_password(environ, user, password):
    print('asked', environ['REQUEST_METHOD'], password, file=environ['wsgi.errors'])
    return RESULTS[user]
def groups_for_user(environ, user):
    yield 'staff'
    yield b'\\xff'
def process_group(environ):
    return 'blue'
",
    );
    assert_eq!(password(&script, "yes"), Answer::Yes);
    assert_eq!(password(&script, "no"), Answer::No);
    assert_eq!(password(&script, "unknown"), Answer::Unknown);
    assert_eq!(password(&script, "renamed"), Answer::Text("J\u{f6}rg".into()));
    for (user, logged) in [("one", "WSGI0177"), ("empty", "WSGI0176"), ("nobody", "KeyError: 'nobody'")] {
        let (answer, response) = ask(&script, Topic::Password, &[user, "secret"], PATIENCE);
        assert_eq!(answer, Answer::Failed);
        assert!(response.has_logged(logged) && response.has_logged("asked GET secret"), "{response:?}");
    }
    let (answer, _) = ask(&script, Topic::Groups, &["ann"], PATIENCE);
    assert_eq!(answer, Answer::Groups(vec![b"staff".to_vec(), b"\xff".to_vec()]));
    let (answer, _) = ask(&script, Topic::Route, &[], PATIENCE);
    let Answer::Route(route) = answer else { panic!("{answer:?}") };
    assert_eq!((route.process_group.as_deref(), route.callable_object), (Some(&b"blue"[..]), None));
    let (answer, response) = ask(&script, Topic::Access, &["host"], PATIENCE);
    assert!(answer == Answer::Failed && response.has_logged("WSGI0056"), "{response:?}");
}

#[test]
fn an_environ_has_the_values_of_its_request() {
    let script = script(
        "environs.py",
        "
import re
def described(environ):
    query = environ.get('QUERY_STRING')
    kept = query and re.sub('(.)\\\\1+', r'\\1+', query)
    rest = [key for key in ('REMOTE_USER', 'AUTH_TYPE', 'CONTENT_TYPE', 'CONTEXT_PREFIX') if key in environ]
    return ' '.join([str(kept), *rest, environ['REQUEST_METHOD'], str('mod_wsgi.version' in environ)])
def check_password(environ, user, password):
    text = described(environ)
    # It is this request's alone.
    environ['QUERY_STRING'] = environ['REMOTE_USER'] = 'changed'
    return text
def process_group(environ):
    return described(environ)
",
    );
    let long = "x".repeat(2000);
    let all = |topic, query: Option<&str>| {
        let path = script.as_os_str().as_encoded_bytes();
        let mut facts = facts(path, "/");
        facts.cgi[Cgi::QueryString as usize] = Bytes::optional(query.map(str::as_bytes));
        for (variable, value) in
            [(Cgi::RemoteUser, "ann"), (Cgi::AuthType, "Basic"), (Cgi::ContentType, "text/plain")]
        {
            facts.cgi[variable as usize] = value.into();
        }
        match ask_about(facts, topic, &["ann", "secret"], PATIENCE) {
            (Answer::Text(text), _) => String::from_utf8(text).expect("text"),
            (Answer::Route(route), _) => {
                String::from_utf8(route.process_group.unwrap_or_default()).expect("text")
            }
            other => panic!("{other:?}"),
        }
    };
    let guard = |query, shown: &str| {
        assert_eq!(all(Topic::Password, query), format!("{shown} CONTENT_TYPE GET True"));
    };
    let route = |query, shown: &str| {
        let known = "REMOTE_USER AUTH_TYPE CONTENT_TYPE CONTEXT_PREFIX";
        assert_eq!(all(Topic::Route, query), format!("{shown} {known} GET False"));
    };
    // A value may be kept for the next question, be too long for that, or be none.
    let values = [(Some("a"), "a"), (Some("b"), "b"), (Some(&*long), "x+"), (None, "None"), (Some("c"), "c")];
    for (first, shown_first) in values {
        for (second, shown_second) in values {
            guard(first, shown_first);
            route(second, shown_second);
            guard(second, shown_second);
            guard(first, shown_first);
            route(first, shown_first);
        }
    }
}

#[test]
fn endless_groups_are_cut_off() {
    let script = script(
        "endless.py",
        "def groups_for_user(environ, user):\n    while True:\n        yield 'x' * 99\n",
    );
    let (answer, response) = ask(&script, Topic::Groups, &["ann"], PATIENCE);
    assert!(answer == Answer::Failed && response.has_logged("WSGI0051"), "{response:?}");
}

#[test]
fn an_exit_is_a_failure() {
    let script = script("exits.py", "import sys\ndef check_password(*arguments):\n    sys.exit(1)\n");
    let (answer, response) = ask(&script, Topic::Password, &["a", "b"], PATIENCE);
    assert!(answer == Answer::Failed && response.has_logged("WSGI0175"), "{response:?}");
}

#[test]
fn what_is_kept_of_a_question_is_empty_afterwards() {
    let script = script(
        "keeps.py",
        "
kept = []
def check_password(environ, user, password):
    if not kept:
        kept.append(environ)
        return environ['mod_ssl.is_https']() == 0 and environ['mod_ssl.var_lookup']('X') is None
    results = []
    for use in (lambda: kept[0]['mod_ssl.is_https'](), lambda: kept[0]['mod_ssl.var_lookup']('X'),
                lambda: print('x', file=kept[0]['wsgi.errors'], flush=True)):
        try:
            use()
        except RuntimeError as error:
            results.append(str(error))
    return len(results) == 3
",
    );
    assert_eq!(password(&script, "first"), Answer::Yes);
    assert_eq!(password(&script, "second"), Answer::Yes);
}

/// A script that hangs in C until a file is there.
const HANGS: &str = "
import os, time
def check_password(environ, user, password):
    while user == 'hangs' and not os.path.exists(__file__ + '.go'):
        time.sleep(0.01)
    return True
";

#[test]
fn a_script_that_hangs_is_given_up() {
    let script = script("hangs.py", HANGS);
    assert_eq!(password(&script, "quick"), Answer::Yes);
    for _ in 0..8 {
        let (answer, response) = ask(&script, Topic::Password, &["hangs", "secret"], 20);
        assert_eq!(answer, Answer::TimedOut, "{response:?}");
    }
    // Calls of it are not piled up, be they quick or not; other scripts are asked.
    let begin = Instant::now();
    assert_eq!(password(&script, "hangs"), Answer::Overdue);
    assert!(begin.elapsed() < Duration::from_millis(PATIENCE.into()));
    assert_eq!(password(&script, "quick"), Answer::Overdue);
    let other = support::script("other.py", HANGS);
    assert_eq!(password(&other, "quick"), Answer::Yes);
    // When they return, it is asked again.
    std::fs::write(format!("{}.go", script.display()), "").unwrap();
    while password(&script, "quick") != Answer::Yes {
        assert!(begin.elapsed() < Duration::from_millis(PATIENCE.into()), "it has not returned");
        std::thread::sleep(Duration::from_millis(5));
    }
}
