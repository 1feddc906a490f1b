use super::*;
use crate::Histogram;
use crate::histogram::BUCKETS;
use crate::snapshot::{Ended, Event, Process, Request, Sample, Server, State};

fn group(index: u64, ended: u64) -> Group {
    let mut buckets = vec![0; BUCKETS];
    buckets[2] = ended;
    let duration = Histogram { buckets, sum: ended as f64 * 0.02 };
    let process = |slot: u64| Process {
        slot: slot as u32,
        pid: (1_000 + 10 * index + slot) as u32,
        state: State::Serving,
        resident: 40 << 20,
        ended: [0, ended / 2, 0, 0, 0],
        ..Process::default()
    };
    Group {
        name: format!("group-{index}"),
        threads: 5,
        least_processes: 2,
        most_processes: 2,
        http: vec![Ended { method: "GET".to_owned(), status_class: 2, duration, ..Ended::default() }],
        processes: vec![process(0), process(1)],
        history: (0..60_u64)
            .map(|at| Sample { time: (700 + 5 * at) as f64, ended: ended * at / 60, ..Sample::default() })
            .collect(),
        ..Group::default()
    }
}

fn snapshot(groups: Vec<Group>) -> Snapshot {
    let server =
        Server { host: "web1".to_owned(), version: "1".to_owned(), started: 10.0, ..Server::default() };
    Snapshot { time: 1_000.0, server, groups, ..Snapshot::default() }
}

fn page(snapshot: &Snapshot, filter: &str) -> String {
    render(snapshot, &View { filter: filter.to_owned() }, "abc")
}

/// Returns the tags of a page in their order, without attributes.
fn tags(page: &str) -> Vec<&str> {
    let starts = page.split('<').skip(1);
    starts.map(|tag| tag.split(['>', ' ', '\n']).next().unwrap_or_default()).collect()
}

#[test]
fn more_of_what_is_wrong_is_not_announced() {
    let announced = |busy, queued| {
        let mut group = group(1, 0);
        group.processes.iter_mut().for_each(|process| process.busy = busy);
        group.queued = queued;
        let page = page(&snapshot(vec![group]), "");
        page.split("data-text=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
    };
    assert_eq!(announced(0, 0).as_deref(), Some("No problems"));
    let saturated = announced(5, 3);
    assert_eq!(saturated.as_deref(), Some("Problem: group-1: all threads are busy, and requests wait"));
    assert_eq!(announced(5, 4), saturated);
}

#[test]
fn elements_are_closed_in_their_order() {
    let mut broken = group(1, 50);
    broken.processes[0].state = State::Failing;
    broken.rejections.insert("queue_timeout".to_owned(), 3);
    broken.requests = vec![Request { path: "/a".to_owned(), age: 12.0, ..Request::default() }];
    let partial = Group { is_partial: true, ..Group::default() };
    let mut all = snapshot((0..20).map(|index| group(index, 0)).chain([broken, partial]).collect());
    all.events = vec![Event { detail: "Traceback".to_owned(), pid: 7, ..Event::default() }];
    all.warnings = vec!["a warning".to_owned()];
    for snapshot in [all, snapshot(Vec::new())] {
        let page = page(&snapshot, "");
        let body = &page[page.find("<body>").expect("a body")..page.find("<script").expect("a script")];
        let mut open = Vec::new();
        for tag in tags(body) {
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{body}"),
                None if ["input", "path"].contains(&tag) => {}
                None => open.push(tag),
            }
        }
        assert_eq!(open, ["body"]);
    }
}

#[test]
fn nothing_that_others_choose_is_markup() {
    const EVIL: &str = "\"'><script>alert(1)</script>&amp;";
    let evil = || EVIL.to_owned();
    let mut hostile = group(0, 10);
    hostile.name = evil();
    hostile.virtual_host = evil();
    hostile.user = evil();
    hostile.python = evil();
    hostile.scripts = vec![evil()];
    hostile.http[0].method = evil();
    hostile.rejections.insert(evil(), 1);
    hostile.processes[0].crashes.insert(evil(), 1);
    hostile.processes[0].restarts.insert(evil(), 1);
    hostile.processes[1].state = State::Failing;
    let request =
        Request { method: evil(), path: evil(), virtual_host: evil(), id: evil(), ..Request::default() };
    hostile.requests = vec![request];
    let mut snapshot = snapshot(vec![hostile]);
    snapshot.server.host = evil();
    snapshot.server.mpm = evil();
    snapshot.events = vec![Event { group: evil(), text: evil(), detail: evil(), ..Event::default() }];
    snapshot.warnings = vec![evil()];
    for filter in ["", EVIL] {
        let page = page(&snapshot, filter);
        assert_eq!(page.matches("<script").count(), 1, "its own");
        assert!(!page.contains("\"'>"), "an attribute ends");
        assert!(page.contains("&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"));
    }
}

#[test]
fn few_groups_are_shown_with_all_details_and_of_many_those_that_work() {
    let few = page(&snapshot((0..10).map(|index| group(index, 0)).collect()), "");
    assert_eq!(few.matches("class=\"group\"").count(), 10);
    assert!(!few.contains("id=\"others\""));

    let mut groups: Vec<_> =
        (0..1_000).map(|index| group(index, if index % 100 == 5 { 60 } else { 0 })).collect();
    groups[777].processes[0].state = State::Failing;
    let many = snapshot(groups);
    let page_of_many = page(&many, "");
    assert_eq!(page_of_many.matches("class=\"group\"").count(), 11);
    assert!(page_of_many.contains("989 groups at rest"));
    assert!(
        page_of_many.contains("id=\"g-group-777\" open") && page_of_many.contains("href=\"#g-group-777\"")
    );

    let filtered = page(&many, "GROUP-12");
    assert!(filtered.contains("11 of 1,000 groups match") && filtered.contains("id=\"g-group-12\""));
    assert_eq!(filtered.matches("class=\"group\"").count(), 11);
}

#[test]
fn requests_are_listed_the_oldest_first() {
    let request = |path: &str, age| Request { path: path.to_owned(), age, ..Request::default() };
    let mut first = group(0, 0);
    first.requests = vec![request("/young", 0.5), request("/old", 50.0)];
    let mut second = group(1, 0);
    second.requests = vec![request("/middle", 5.0)];
    let snapshot = snapshot(vec![first, second]);
    let all = page(&snapshot, "");
    let places: Vec<_> = ["/old", "/middle", "/young"].iter().map(|path| all.find(path)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}");
    let filtered = page(&snapshot, "/mid");
    assert!(filtered.contains("/middle") && !filtered.contains("/old"));
}

#[test]
fn slow_requests_have_a_mark_in_words() {
    let request = |path: &str, slow| Request { path: path.to_owned(), age: 3.0, slow, ..Request::default() };
    let mut group = group(0, 0);
    group.slow_requests = 1_234;
    group.requests = vec![request("/a", true), request("/b", false)];
    let mut snapshot = snapshot(vec![group]);
    snapshot.server.slow_after = 2.0;
    let all = page(&snapshot, "");
    assert!(all.contains("oldest request first; 1 slow, of 2.0 s or more</caption>"), "{all}");
    assert_eq!((all.matches(">slow, 3.0 s<").count(), all.matches(">3.0 s<").count()), (1, 1), "{all}");
    assert!(all.contains("<dt>Slow requests so far</dt><dd>1,234</dd>"), "{all}");
    let filtered = page(&snapshot, "slow");
    assert!(filtered.contains(" /a<") && !filtered.contains(" /b<"), "{filtered}");
}

#[test]
fn the_policy_admits_the_page_alone() {
    let page = page(&snapshot(Vec::new()), "");
    assert!(policy("abc").contains("script-src 'nonce-abc'; style-src 'nonce-abc'"));
    assert_eq!(page.matches("nonce=\"abc\"").count(), 2);
    assert!(!page.contains(" style=") && !page.contains("http://") && !page.contains("https://"));
    assert!(!page.contains(" onclick") && !page.contains("javascript:"));
}

#[test]
fn charts_are_drawn_whatever_the_clock_did_and_however_little_there_was() {
    let mut group = group(0, 60);
    // One sample in two has no requests of its own, so that each mean stands alone.
    group.history = (0..20_u64)
        .map(|at| Sample { time: 800.0 + 10.0 * at as f64, ended: at / 2, ..Sample::default() })
        .collect();
    group.history[5].time = 5_000.0;
    group.http[0].duration.buckets[2] = 10;
    let page = page(&snapshot(vec![group]), "");
    let paths: Vec<_> = page.split(" d=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let is_number = |character: char| character.is_ascii_digit() || matches!(character, '.' | ' ');
    for path in &paths {
        let is_drawn = |character| is_number(character) || "MLHVhz".contains(character);
        assert!(path.chars().all(is_drawn), "{path}");
        for alone in path.split('M').filter(|part| !part.is_empty() && !part.contains(['L', 'H', 'V'])) {
            assert!(alone.ends_with("h0"), "nothing is drawn of {alone} in {path}");
        }
    }
    assert!(paths.iter().any(|path| path.matches('M').count() > 3), "{paths:?}");
}

#[test]
fn a_group_stays_the_same_element() {
    let id = |page: &str| {
        let place = page.find("<h3>group-7</h3>").expect("the group");
        page[..place].rsplit("id=\"").next().and_then(|rest| rest.split('"').next()).map(str::to_owned)
    };
    let mut broken = group(7, 5);
    broken.processes[0].state = State::Failing;
    let alone = page(&snapshot(vec![broken.clone()]), "");
    let name = id(&alone).expect("an id");
    assert!(alone.contains(&format!("href=\"#{name}\"")), "{alone}");
    assert!(alone.contains(&format!("<li data-key=\"{name}\"")), "{alone}");
    let embedded = Group { name: String::new(), mode: Mode::Embedded, ..group(0, 5) };
    let later = page(&snapshot(vec![embedded, group(3, 5), broken]), "");
    assert_eq!(id(&later).as_ref(), Some(&name), "embedded mode is shown once it is used");
    let mut spaced = group(1, 5);
    spaced.name = "a b\"ü".to_owned();
    assert!(page(&snapshot(vec![spaced]), "").contains("id=\"g-a%20b%22%C3%BC\""));
}

#[test]
fn spans_that_were_dropped_are_shown() {
    let mut snapshot = snapshot(vec![group(1, 0)]);
    assert!(!page(&snapshot, "").contains("Dropped spans"));
    snapshot.server.dropped_spans = 1_234;
    assert!(page(&snapshot, "").contains("<dt>Dropped spans</dt><dd>1,234</dd>"));
}

#[test]
fn a_chart_of_no_values_has_no_highest_one() {
    let idle = page(&snapshot(vec![group(0, 0)]), "");
    assert!(!idle.contains("highest 0 µs") && !idle.contains("at most 0 µs"), "{idle}");
    assert!(idle.contains("<span>highest –</span>") && idle.contains("<span>highest 0</span>"), "{idle}");
    assert!(page(&snapshot(vec![group(0, 60)]), "").contains("<span>highest 1.2 s</span>"));
}
