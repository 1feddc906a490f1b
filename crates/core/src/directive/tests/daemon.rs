//! Tests of `WSGIDaemonProcess` and its companions.

use super::*;
use crate::daemon::{DaemonGroup, ScriptOwner};
use crate::directive::daemon::all_options;

fn group(options: &str) -> DaemonGroup {
    let mut server = Server::default();
    server.line(&format!("WSGIDaemonProcess g {options}"));
    server.global.daemons.pop().unwrap()
}

fn refusal(options: &str) -> String {
    let mut server = Server::default();
    let text = server.error(&format!("WSGIDaemonProcess g {options}"));
    assert!(server.global.daemons.is_empty(), "{options}");
    text
}

#[test]
fn groups_have_a_name_of_their_own() {
    let mut server = Server::default();
    server.line("WSGIDaemonProcess one");
    server.line_in(Scope::VirtualHost, "WSGIDaemonProcess \"t w o\" threads=2");
    server.warned("WSGIDaemonProcess processes=2", "'processes=2' is taken for the name of a process group");
    let names: Vec<_> = server.global.daemons.iter().map(|group| (&*group.name, group.host)).collect();
    let expected = [(&b"one"[..], None), (b"t w o", Some(ServerId(1))), (b"processes=2", None)];
    assert_eq!(names, expected);
    for (line, gist) in [
        ("WSGIDaemonProcess", "not supplied"),
        ("WSGIDaemonProcess \"\"", "not supplied"),
        ("WSGIDaemonProcess one", "Name duplicates previous WSGI daemon definition. "),
        ("WSGIDaemonProcess new stray", "Invalid option 'stray'"),
        ("WSGIDaemonProcess new =1", "Invalid option '=1'"),
        ("WSGIDaemonProcess new Threads=1", "Invalid option 'Threads'"),
        ("WSGIDaemonProcess new socket-perms=1", "Invalid option 'socket-perms'"),
        ("WSGIDaemonProcess new \"home=/a b\"", "Invalid option '\"home'"),
    ] {
        let text = server.error(line);
        assert!(text.contains(gist), "{line}: {text}");
    }
    assert_eq!(server.global.daemons.len(), 3);
    assert!(server.global.daemon(b"one").is_some() && server.global.daemon(b"ONE").is_none());
}

#[test]
fn a_group_without_options_has_the_defaults() {
    let position = Position { file: b"/conf"[..].into(), line: 7 };
    assert_eq!(group(""), DaemonGroup { position, ..DaemonGroup::new(b"g", None) });
}

#[test]
fn flags_follow_from_what_was_written() {
    assert!(!group("").options.is_multiprocess() && group("processes=1").options.is_multiprocess());
    assert!(group("").options.is_multithread() && !group("threads=1").options.is_multithread());
    assert!(group("threads=0").options.is_multithread() && group("threads=0").options.is_service());
    assert!(group("threads=1 maximum-requests=1").options.is_run_once());
    assert!(!group("maximum-requests=1").options.is_run_once());
    assert_eq!(group("processes=3").options.process_count(), 3);
    assert_eq!(group("processes=3 processes=2").options.processes, Some(2), "the last one holds");
}

#[test]
fn the_number_of_processes_may_be_a_range() {
    for (line, least, most, is_elastic, is_multiprocess) in [
        ("", 1, 1, false, false),
        ("processes=3", 3, 3, false, true),
        ("processes=0-3", 0, 3, true, true),
        ("processes=0-1", 0, 1, true, false),
        ("processes=1-1", 1, 1, false, false),
        ("processes=2-5 processes=4", 4, 4, false, true),
    ] {
        let options = group(line).options;
        assert_eq!((options.least_process_count(), options.process_count()), (least, most), "{line}");
        assert_eq!(
            (options.is_elastic(), options.is_multiprocess()),
            (is_elastic, is_multiprocess),
            "{line}"
        );
    }
    assert!(refusal("processes=5-2").contains("Invalid processes '5-2'"));
    assert_eq!(group("scale-up-wait=50").options.limits.scale_up_wait, 50);
    assert_eq!(group("scale-down-idle=5").options.limits.scale_down_idle, 5_000);
    let text = refusal("processes=0-2 threads=0");
    assert!(text.contains("Invalid processes '0-2'") && text.contains("threads=0"), "{text}");
    assert!(group("processes=2-2 threads=0").options.is_service());
}

#[test]
fn times_are_kept_in_milliseconds() {
    for (name, of) in [
        ("startup-timeout", (|group| group.options.limits.startup_timeout) as fn(&DaemonGroup) -> u64),
        ("deadlock-timeout", |group| group.options.limits.deadlock_timeout),
        ("inactivity-timeout", |group| group.options.limits.inactivity_timeout),
        ("request-timeout", |group| group.options.limits.request_timeout),
        ("interrupt-timeout", |group| group.options.limits.interrupt_timeout),
        ("graceful-timeout", |group| group.options.limits.graceful_timeout),
        ("eviction-timeout", |group| group.options.limits.eviction_timeout),
        ("restart-interval", |group| group.options.limits.restart_interval),
        ("shutdown-timeout", |group| group.options.limits.shutdown_timeout),
        ("queue-timeout", |group| group.options.limits.queue_timeout),
        ("socket-timeout", |group| group.options.limits.socket_timeout),
        ("connect-timeout", |group| group.transport.connect_timeout),
        ("response-socket-timeout", |group| group.transport.response_socket_timeout),
    ] {
        assert_eq!(of(&group(&format!("{name}=7s"))), 7_000, "{name}");
        assert_eq!(of(&group(&format!("{name}=0"))), 0, "{name}");
        assert_eq!(of(&group(&format!("{name}=1500ms"))), 1_500, "{name}");
        for value in ["", "-1", "99999999999999999999"] {
            let text = refusal(&format!("{name}={value}"));
            assert!(
                text.starts_with(&format!("Invalid {name} '{value}' for WSGI daemon process 'g': ")),
                "{text}"
            );
        }
    }
    assert_eq!(group("response-flush-delay=7").transport.response_flush_delay, 7);
    assert_eq!(group("response-flush-delay=2s").transport.response_flush_delay, 2_000);
    assert!(refusal("response-flush-delay=-1").contains("0 or more"));
    assert_eq!(group("cpu-time-limit=5m").options.cpu_time_limit, 300);
    assert!(refusal("cpu-time-limit=1500ms").contains("whole seconds"));
}

#[test]
fn numbers_have_their_ranges() {
    for refused in [
        "processes=0",
        "processes=-1",
        "processes=x",
        "processes=70000",
        "processes=",
        "threads=-1",
        "threads=65534",
        "threads=",
        "stack-size=0",
        "stack-size=1",
        "memory-limit=512",
        "memory-recycle=15M",
        "restart-jitter=101",
        "restart-jitter=20%",
        "virtual-memory-limit=15M",
        "stack-size=-5",
        "stack-size=",
        "maximum-requests=-1",
        "maximum-requests=",
        "listen-backlog=-1",
        "cpu-priority=",
        "cpu-time-limit=-1",
        "memory-limit=-1",
        "virtual-memory-limit=",
        "send-buffer-size=511",
        "receive-buffer-size=1",
        "header-buffer-size=8191",
        "response-buffer-size=65535",
        "response-buffer-size=-1",
        "header-buffer-size=",
    ] {
        let text = refusal(refused);
        assert!(text.starts_with(&format!("Invalid {} ", refused.split_once('=').unwrap().0)), "{text}");
    }
    let group = group(
        "threads=65533 stack-size=32K maximum-requests=5 listen-backlog=0 cpu-priority=-7 cpu-time-limit=3 \
         memory-limit=5000000000 virtual-memory-limit=6000000000 send-buffer-size=512 receive-buffer-size=600 \
         header-buffer-size=8192 response-buffer-size=65536 memory-recycle=16M restart-jitter=100",
    );
    let limits = group.options.limits;
    assert_eq!((limits.memory_recycle, limits.restart_jitter), (16 << 20, 100));
    assert_eq!(
        (group.options.threads, group.options.stack_size, group.options.limits.maximum_requests),
        (65_533, 32_768, 5)
    );
    assert_eq!(
        (group.options.limits.listen_backlog, group.options.priority, group.options.cpu_time_limit),
        (1, -7, 3)
    );
    assert_eq!(
        (group.options.memory_limit, group.options.virtual_memory_limit),
        (5_000_000_000, 6_000_000_000)
    );
    let transport = group.transport;
    assert_eq!((transport.send_buffer_size, transport.receive_buffer_size), (512, 600));
    assert_eq!((transport.header_buffer_size, transport.response_buffer_size), (8_192, 65_536));
}

#[test]
fn numbers_have_no_tail_but_a_unit() {
    let group = group(
        "threads=2k maximum-requests=1k memory-limit=512M virtual-memory-limit=\"2 GiB\" stack-size=512kb",
    );
    assert_eq!((group.options.threads, group.options.limits.maximum_requests), (2_000, 1_000));
    assert_eq!(
        (group.options.memory_limit, group.options.virtual_memory_limit, group.options.stack_size),
        (512 << 20, 2 << 30, 512 << 10)
    );
    for option in all_options().iter().filter(|option| option.is_number()) {
        for value in ["ten", "5x", "5,", "5;", "0x10", "1_0", "--5", "5-", "\"5 6\"", "k", "5parsecs"] {
            let text = refusal(&format!("{}={value}", option.name));
            let value = value.trim_matches('"');
            let begin = format!("Invalid {} '{value}' for WSGI daemon process 'g': it must be ", option.name);
            assert!(text.starts_with(&begin), "{text}");
        }
    }
    for option in all_options() {
        let is_said_to_be =
            ["*count*", "*count*|*least*-*most*", "*time*", "*size*", "*number*"].contains(&option.value());
        assert_eq!(option.is_number(), is_said_to_be, "{}", option.name);
    }
}

#[test]
fn defaults_of_the_manual_are_those_of_groups() {
    let plain = group("");
    for option in all_options().iter().filter(|option| option.is_number()) {
        let default = option.default();
        // With these, that the option is given at all matters, or nothing stands for the default.
        if matches!(option.name, "processes" | "stack-size" | "stuck-timeout" | "switch-interval") {
            continue;
        }
        assert_eq!(group(&format!("{}={default}", option.name)), plain, "{}={default}", option.name);
    }
}

#[test]
fn a_buffer_size_of_zero_is_the_default() {
    let sizes = "send-buffer-size=0 receive-buffer-size=0 header-buffer-size=0 response-buffer-size=0";
    assert_eq!(group(sizes), group(""));
}

#[test]
fn users_and_groups_are_looked_up() {
    assert_eq!((group("user=joe").user, group("user=#1000").user), (Some(1000), Some(1000)));
    assert_eq!((group("group=staff").group, group("group=#0").group), (Some(50), Some(0)));
    assert_eq!(group("group=#12345").group, Some(12_345), "a group need not have a name");
    assert_eq!(group("supplementary-groups=staff,#7,").supplementary_groups, Some(vec![50, 7]));
    assert_eq!(group("supplementary-groups=").supplementary_groups, Some(vec![]));
    group("socket-user=joe");
    group("socket-user=root");
    for (options, gist) in [
        ("user=", "missing"),
        ("user=nobody-here", "no such user"),
        ("user=root", "root"),
        ("user=#0", "root"),
        ("user=#", "'#'"),
        ("user=#x", "'#'"),
        ("user=#4294967295", "'#'"),
        ("user=#1001", "no user of that number"),
        ("group=", "missing"),
        ("group=none", "no such group"),
        ("group=#-1", "'#'"),
        ("supplementary-groups=staff,none", "no such group"),
        ("supplementary-groups=#1,#2,#3,#4", "at most 3"),
        ("socket-user=", "missing"),
        ("socket-user=#1001", "no user of that number"),
    ] {
        let text = refusal(options);
        assert!(text.contains(gist), "{options}: {text}");
    }
}

#[test]
fn scripts_have_one_owner() {
    assert_eq!(group("script-user=#7").script_owner, Some(ScriptOwner::User(7)));
    assert_eq!(group("script-group=staff").script_owner, Some(ScriptOwner::Group(50)));
    assert_eq!(group("script-user=joe script-user=root").script_owner, Some(ScriptOwner::User(0)));
    for (options, gist) in [
        ("script-user=joe script-group=staff", "only one of"),
        ("script-group=staff script-user=joe", "only one of"),
        ("script-user=", "missing"),
        ("script-group=none", "no such group"),
    ] {
        let text = refusal(options);
        assert!(text.contains(gist), "{options}: {text}");
    }
}

#[test]
fn paths_are_absolute() {
    let text = |value: &Option<Box<[u8]>>| String::from_utf8_lossy(value.as_deref().unwrap()).into_owned();
    let group = group(
        "home=\"/a b\" chroot=/jail python=/v/bin/python python-home=rel python-path=a:b python-eggs=e",
    );
    assert_eq!(
        (text(&group.options.home), text(&group.options.chroot)),
        ("/a b".to_owned(), "/jail".to_owned())
    );
    assert_eq!(
        (text(&group.python), text(&group.python_home)),
        ("/v/bin/python".to_owned(), "rel".to_owned())
    );
    assert_eq!(
        (text(&group.options.python_path), text(&group.python_eggs)),
        ("a:b".to_owned(), "e".to_owned())
    );
    for options in ["home=", "home=rel", "chroot=", "chroot=rel", "python=", "python=python3"] {
        assert!(refusal(options).contains("absolute"), "{options}");
    }
    let mut server = Server { is_unprivileged: true, ..Server::default() };
    assert!(server.error("WSGIDaemonProcess g chroot=/jail").contains("root"));
    server.line("WSGIDaemonProcess g user=joe");
}

#[test]
fn paths_that_cannot_work_are_refused() {
    for (options, gist) in [
        (
            "python-home=/usr/bin/idle",
            "a directory is wanted: the directory above bin, /usr; or write python=/usr/bin/idle",
        ),
        ("python=/venv", "write python-home=/venv"),
    ] {
        let text = refusal(options);
        assert!(text.contains(gist), "{options}: {text}");
    }
    for options in [
        "python-home=/none",
        "python=/none",
        "python-home=/venv",
        "python-home=/usr/bin/python3",
        "python=/usr/bin/python3",
        "python=/usr/bin/python3 python-home=/x.zip",
        "python-home=/usr/bin/python3 chroot=/jail",
        "chroot=/jail python-path=/none",
        "python-path=rel:/usr",
    ] {
        group(options);
    }
    let mut server = Server::default();
    server.warned("WSGIDaemonProcess g python-path=/usr:/none", "group 'g': '/none' does not exist");
    server.warned("WSGIDaemonProcess %{GLOBAL}", "give it a plain name");
    server.line("WSGIDaemonProcess a=b");
}

#[test]
fn texts_are_taken_as_they_are() {
    let group = |options: &str| group(options);
    assert_eq!(group("lang= locale=C.UTF-8").options.lang.as_deref(), Some(&b""[..]));
    assert_eq!(group("lang= locale=C.UTF-8").options.locale.as_deref(), Some(&b"C.UTF-8"[..]));
    assert_eq!(group("python-home=").python_home.as_deref(), Some(&b""[..]), "counts as set");
    for (value, shown) in [("%{GROUP}", "(wsgi:g)"), ("a%{GROUP}", "a%{GROUP}"), ("", "")] {
        let mut server = Server::default();
        let diagnostic = server.diagnostic(Scope::Main, &format!("WSGIDaemonProcess g display-name={value}"));
        assert_eq!(diagnostic.map(|diagnostic| diagnostic.is_some()), Ok(value.starts_with('a')), "{value}");
        assert_eq!(server.global.daemons[0].options.display_name.as_deref(), Some(shown.as_bytes()));
    }
    assert!(group("server-metrics=on").server_metrics && !group("server-metrics=Off").server_metrics);
    assert!(
        refusal("server-metrics=").contains("Off | On") && refusal("server-metrics=1").contains("Off | On")
    );
    assert!(group("preload=fork").options.is_forked() && !group("preload=none").options.is_forked());
    assert!(!group("preload=fork threads=0").options.is_forked(), "its scripts do their work at once");
    assert!(refusal("preload=on").contains("none | fork") && refusal("preload=").contains("none | fork"));
    assert_eq!(group("switch-interval=0.5").options.switch_interval, Some(0.5));
    assert_eq!(group("switch-interval=5ms").options.switch_interval, Some(0.005));
    for value in ["", "0", "-1", "x", "1m"] {
        assert!(refusal(&format!("switch-interval={value}")).contains("positive"), "{value}");
    }
}

#[test]
fn umasks_are_octal() {
    assert_eq!((group("umask=0027").options.umask, group("umask=0").options.umask), (Some(0o27), Some(0)));
    for value in ["", "8", "-1", "27x", "0o27", "77777777777777777777"] {
        assert!(refusal(&format!("umask={value}")).contains("octal"), "{value}");
    }
}

#[test]
fn environments_add_up_in_order() {
    let group = group("environment=A=0 environment-file=/good environment=\"C=d e\" environment=A=2");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let variables: Vec<_> = group
        .options
        .environment
        .iter()
        .map(|(name, value)| format!("{}={}", text(name), text(value)))
        .collect();
    assert_eq!(variables, ["A=0", "A=1", "B=x y", "C=d e", "A=2"]);
}

#[test]
fn environment_errors_name_file_and_line() {
    for (options, gist) in [
        ("environment=A", "NAME=value"),
        ("environment==x", "NAME=value"),
        ("environment=", "NAME=value"),
        ("environment-file=rel", "absolute"),
        ("environment-file=/none", "cannot read /none: No such file"),
        ("environment-file=/bad", "'/bad' for WSGI daemon process 'g': line 2 must be NAME=value"),
    ] {
        let text = refusal(options);
        assert!(text.contains(gist) && !text.contains("secret"), "{options}: {text}");
    }
}

#[test]
fn socket_directives_are_accepted_for_compatibility() {
    let mut server = Server::default();
    server.line("WSGISocketPrefix /run/wsgi");
    server.line("WSGISocketRotation Off");
    for mutex in ["default", "flock", "FCNTL", "sysvsem", "posixsem", "Pthread"] {
        server.line(&format!("WSGIAcceptMutex {mutex}"));
    }
    let text = server.error("WSGIAcceptMutex none");
    assert!(text.contains("'none'") && text.contains("default | flock | fcntl"), "{text}");
}

#[test]
fn activity_can_be_ignored() {
    let mut server = Server::default();
    assert!(!Effective::new(&server.main, &server.directory).ignore_activity());
    server.line("WSGIIgnoreActivity On");
    assert!(Effective::new(&server.main, &server.directory).ignore_activity());
    server.line_in(Scope::Directory, "WSGIIgnoreActivity Off");
    assert!(!Effective::new(&server.main, &server.directory).ignore_activity());
}

#[test]
fn metrics_are_off_unless_asked_for() {
    let mut server = Server::default();
    assert!(!server.global.serves_metrics());
    server.line("WSGIServerMetrics On");
    assert!(server.global.serves_metrics());
}

proptest! {
    #[test]
    fn any_group_is_defined_or_refused(
        name in "[a-z]{1,4}",
        key in 0_usize..100,
        value in "[-#/=0-9a-zA-Z,%{}. ]{0,12}",
    ) {
        let options = all_options();
        let option = options[key % options.len()].name;
        let mut server = Server::default();
        let result = server.diagnostic(Scope::Main, &format!("WSGIDaemonProcess {name} {option}=\"{value}\""));
        prop_assert_eq!(server.global.daemons.len(), usize::from(result.is_ok()));
        if let Err(text) = result {
            prop_assert!(text.contains(option) && text.contains(&name), "{}", text);
        }
    }
}
