//! Isolation: things that a daemon process does not hold, and cannot do to others.

use std::fs;
use std::path::PathBuf;

use e2e::Needs::{Daemon, NoSanitizer, Ours, Root};
use e2e::{Cases, Process, Server, Setup, Test, on_each_mpm, on_one_mpm, skipped, wait_until};
use nix::sys::signal::Signal;

use super::{APP, serving, serving_process, wait_ended, wait_for_successor};

pub(crate) const TESTS: &[Test] = &[
    on_one_mpm!(descriptors_cannot_be_sent_to_the_supervisor_or_apache, Daemon),
    on_each_mpm!(
        a_process_holds_no_foreign_descriptors,
        Daemon,
        Ours("promise of what a process holds (W31)")
    ),
    on_one_mpm!(
        a_process_does_not_see_secrets_of_the_server,
        Daemon,
        Ours("process without a copy of the server's memory"),
        Root("read the memory of other processes"),
        NoSanitizer("there is too much memory to be searched")
    ),
    on_one_mpm!(two_users_cannot_reach_each_other, Daemon, Root("start processes of two users")),
    on_one_mpm!(
        a_copy_of_the_process_holds_none_of_ours,
        Daemon,
        Ours("care for processes that an application forks (W31)")
    ),
];

/// Two groups, under two users where that is possible.
fn with_two_groups(setup: Setup) -> Setup {
    let user = if nix::unistd::geteuid().is_root() { "user=backup" } else { "" };
    setup
        .own_groups()
        .file("apps/app.wsgi", APP)
        .tls()
        .conf(&format!(
            "WSGIDaemonProcess one threads=3 display-name=%{{GROUP}}\n\
             WSGIDaemonProcess two threads=3 display-name=%{{GROUP}} {user}\nWSGIApplicationGroup %{{GLOBAL}}\n\
             WSGIScriptAlias /one @ROOT@/apps/app.wsgi process-group=one\n\
             WSGIScriptAlias /two @ROOT@/apps/app.wsgi process-group=two\n",
        ))
}

fn process_at(server: &Server, url: &str) -> Process {
    Process(server.get(&format!("{url}/pid")).expect(200).parse().unwrap_or_default())
}

fn descriptors_cannot_be_sent_to_the_supervisor_or_apache(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        cases.ours_only("to root", "its processes have other sockets", || {
            // The control socket and the channel.
            let answer = server.get("/smuggle?SOCK_SEQPACKET").expect(200);
            assert_eq!(answer, "BrokenPipeError\nBrokenPipeError");
        });
        cases.ours_only("to an Apache child", "its processes have other sockets", || {
            let mark = server.mark();
            assert_eq!(server.get("/smuggle?SOCK_STREAM").status, 502);
            server.wait_log(mark, "WSGI0148");
        });
    });
}

fn a_process_holds_no_foreign_descriptors(setup: Setup) {
    with_two_groups(setup).run(|server, cases| {
        let both = [process_at(server, "/one"), process_at(server, "/two")];
        let apache = Process(server.pid()).listening_sockets();
        cases.check("the server listens", || assert!(apache.len() >= 2, "{apache:?}"));
        for one in both {
            check_descriptors(one, &apache, cases);
        }
        if both.iter().any(|one| one.descriptors().is_empty()) {
            return;
        }
        cases.check("it sees its own page of shared memory, and no other", || {
            let pages = both.map(shared_memory);
            for pages in &pages {
                assert!(pages.len() == 1 && pages[0].contains("mod_wsgi page"), "{pages:?}");
            }
            assert_ne!(pages[0], pages[1]);
            // The children see all, and the board.
            let seen = server.children().into_iter().map(|child| shared_memory(Process(child)));
            assert!(
                seen.into_iter().all(|seen| pages.iter().all(|page| seen.contains(&page[0]))),
                "the search does not find what is there: {pages:?}"
            );
        });
        check_that_nothing_is_shared(server, both, cases);
    });
}

fn check_that_nothing_is_shared(server: &Server, both: [Process; 2], cases: &mut Cases<'_>) {
    cases.check("nothing of Apache is in it", || {
        for one in both {
            let maps = one.read("maps");
            assert!(maps.contains("mod_wsgi_host"), "{maps}");
            for word in ["mod_wsgi.so", "apache2", "mod_ssl", "libapr"] {
                assert!(!maps.contains(word), "{word} in {maps}");
            }
        }
    });
    cases.check("nothing in common but the log", || {
        let (one, two) = (sockets(both[0]), sockets(both[1]));
        let common: Vec<_> = one.iter().filter(|socket| two.contains(socket)).collect();
        assert!(!one.is_empty() && common.is_empty(), "{common:?}");
    });
    cases.check("no end of a channel but its own", || {
        // The parent keeps the processes' ends, its children have the others.
        let parent = sockets(Process(server.pid()));
        let children: Vec<_> =
            server.children().into_iter().flat_map(|child| sockets(Process(child))).collect();
        assert!(children.len() > Process(server.pid()).listening_sockets().len(), "{children:?}");
        for one in both {
            let of_parent = sockets(one).into_iter().filter(|socket| parent.contains(socket));
            assert_eq!(of_parent.count(), 1, "{:?} {parent:?}", sockets(one));
            assert!(!sockets(one).iter().any(|socket| children.contains(socket)), "{children:?}");
        }
    });
}

fn check_descriptors(one: Process, apache: &[PathBuf], cases: &mut Cases<'_>) {
    let held = one.descriptors();
    if held.is_empty() && !nix::unistd::geteuid().is_root() {
        skipped("the system shows the descriptors of such a process to root only");
        return;
    }
    cases.check("it has some", || assert!(held.len() > 3, "{held:?}"));
    let shown: Vec<_> = held.iter().map(|(number, path)| format!("{number} {}", path.display())).collect();
    cases.check("no listening socket", || {
        for socket in apache {
            assert!(!held.iter().any(|(_, path)| path == socket), "{} in {shown:?}", socket.display());
        }
        assert_eq!(one.listening_sockets(), [] as [PathBuf; 0]);
    });
    cases.check("no key, no configuration", || {
        for word in ["key.pem", "certificate.pem", "httpd.conf", "httpd.pid"] {
            assert!(!shown.iter().any(|line| line.contains(word)), "{word} in {shown:?}");
        }
    });
    cases.check("one page of shared memory, and no board", || {
        let pages = shown.iter().filter(|line| line.contains("mod_wsgi page")).count();
        assert!(pages <= 1, "{shown:?}");
        assert!(!shown.iter().any(|line| line.contains("board")), "{shown:?}");
    });
    cases.check("files to write to", || {
        for (number, path) in &held {
            let is_file = path.starts_with("/") && !path.starts_with("/dev") && !path.starts_with("/memfd:");
            let flags = flags_of(one, *number);
            if is_file && flags & 3 != 0 {
                assert!(path.ends_with("logs/error.log"), "{} is writable: {shown:?}", path.display());
            }
        }
    });
    cases.check("all is closed on exec, but for the standard streams", || {
        for (number, path) in &held {
            let flags = flags_of(one, *number);
            assert!(*number <= 2 || flags & 0o2_000_000 != 0, "{number} {} {flags:o}", path.display());
        }
    });
}

/// The flags with which a process has opened a descriptor.
fn flags_of(process: Process, number: u32) -> i32 {
    let info = process.read(&format!("fdinfo/{number}"));
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|text| i32::from_str_radix(text.trim(), 8).ok());
    flags.unwrap_or_else(|| panic!("{process:?} {number}: {info}"))
}

/// The sockets of a process, by number.
fn sockets(process: Process) -> Vec<String> {
    let held = process.descriptors().into_iter().map(|(_, path)| path.display().to_string());
    held.filter(|path| path.starts_with("socket:")).collect()
}

/// The shared memory of ours that is mapped in a process: number and name.
fn shared_memory(process: Process) -> Vec<String> {
    let maps = process.read("maps");
    let lines = maps.lines().filter(|line| line.contains("/memfd:mod_wsgi"));
    // Address, permissions, offset, device, number, name.
    lines.map(|line| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ")).collect()
}

fn a_process_does_not_see_secrets_of_the_server(setup: Setup) {
    with_two_groups(setup)
        .conf("<Location /elsewhere>\nSetEnv OTHER e2e-secret-of-another-site\n</Location>")
        .run(|server, cases| {
            let key = fs::read_to_string(server.path("tls/key.pem")).unwrap_or_default();
            let line = key.lines().nth(1).unwrap_or_default().to_owned();
            assert!(line.len() > 40, "{key}");
            let bytes = key_bytes(server);
            let daemon = process_at(server, "/two");
            let memory = readable_memory(daemon);
            assert!(memory.len() > 1_000_000, "{}", memory.len());
            cases.check("the private key", || {
                assert!(!contains(&memory, &bytes), "the bytes of the key are in its memory");
                assert!(!contains(&memory, line.as_bytes()), "the text of the key is in its memory");
            });
            cases.check("the configuration", || {
                assert!(!contains(&memory, b"SSLCertificateKeyFile"));
                assert!(!contains(&memory, b"e2e-secret-of-another-site"));
            });
            cases.check("Apache has it", || {
                let parent = readable_memory(Process(server.pid()));
                assert!(contains(&parent, &bytes), "the search does not find what is there");
            });
        });
}

/// The secret number of the private key.
fn key_bytes(server: &Server) -> Vec<u8> {
    let output = std::process::Command::new("openssl")
        .args(["ec", "-noout", "-text", "-in"])
        .arg(server.path("tls/key.pem"))
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let hex: String = text
        .lines()
        .skip_while(|line| !line.starts_with("priv:"))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .flat_map(|line| line.chars().filter(char::is_ascii_hexdigit).collect::<Vec<_>>())
        .collect();
    let bytes: Vec<u8> =
        (0..hex.len() / 2).filter_map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()).collect();
    assert!(bytes.len() >= 31, "{text}");
    // OpenSSL keeps the number with its lowest byte first.
    bytes.into_iter().rev().take(24).collect()
}

fn readable_memory(process: Process) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;

    let Ok(file) = fs::File::open(process.path("mem")) else { return Vec::new() };
    let maps = process.read("maps");
    let mut all = Vec::new();
    for line in maps
        .lines()
        .filter(|line| line.contains(" rw") || line.contains("[heap]") || line.contains("[stack]"))
    {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let range = range.map(|(begin, end)| (u64::from_str_radix(begin, 16), u64::from_str_radix(end, 16)));
        let Some((Ok(begin), Ok(end))) = range else { continue };
        let mut block = vec![0; usize::try_from(end - begin).unwrap_or_default()];
        if file.read_exact_at(&mut block, begin).is_ok() {
            all.extend(block);
        }
    }
    all
}

fn contains(memory: &[u8], wanted: &[u8]) -> bool {
    let Some(first) = wanted.first() else { return false };
    let mut rest = memory;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(wanted) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

fn two_users_cannot_reach_each_other(setup: Setup) {
    with_two_groups(setup).run(|server, cases| {
        let (one, other) = (process_at(server, "/one"), process_at(server, "/two"));
        for (from, to) in [("/one", other), ("/two", one)] {
            let response = server.get(&format!("{from}/peek?{}", to.0));
            for name in ["signal", "trace", "memory", "environment", "descriptors", "maps"] {
                cases.check(&format!("{from} {name}"), || {
                    assert_eq!(response.value(name).as_deref(), Some("PermissionError"));
                });
            }
            cases.ours_only(&format!("{from} connect"), "there is a socket file, for Apache's user", || {
                assert_eq!(response.value("connect").as_deref(), Some("FileNotFoundError"));
            });
        }
        cases.check("nor the supervisor", || {
            for supervisor in server.supervisors() {
                let response = server.get(&format!("/two/peek?{}", supervisor.0));
                for name in ["signal", "trace", "memory", "environment", "descriptors"] {
                    assert_eq!(response.value(name).as_deref(), Some("PermissionError"), "{name}");
                }
            }
        });
        cases.check("both live", || {
            assert_eq!((process_at(server, "/one"), process_at(server, "/two")), (one, other));
        });
    });
}

fn a_copy_of_the_process_holds_none_of_ours(setup: Setup) {
    serving(setup, "").run(|server, cases| {
        cases.check("fork", || {
            let text = server.get("/forked").expect(200);
            let held: Vec<_> = text.lines().skip(1).collect();
            // Its standard streams and its own pipe.
            for line in &held {
                let (number, path) = line.split_once(' ').unwrap_or_default();
                let is_fine =
                    number.parse::<u32>().is_ok_and(|number| number <= 2) || path.starts_with("pipe:");
                assert!(is_fine, "{line} of {held:?}");
            }
        });
        cases.check("another program", || {
            let text = server.get("/subprocesses").expect(200);
            let ours = ["socket:", "memfd:", "eventpoll", "eventfd", "pidfd", "signalfd"];
            assert!(text.starts_with("0 ") && !ours.iter().any(|word| text.contains(word)), "{text}");
        });
        cases.check("a death is noticed though a copy lives on", || {
            let old = serving_process(server);
            let text = server.get("/forked?15").expect(200);
            let copy = text.lines().next().and_then(|line| line.strip_prefix("child ")?.parse().ok());
            let copy = Process(copy.unwrap_or_else(|| panic!("{text}")));
            assert!(copy.is_alive());
            e2e::signal(old, Signal::SIGKILL);
            let _ = wait_for_successor(server, old);
            wait_ended(old);
            wait_until("requests", || (server.get("/run").status == 200).then_some(()));
            if copy.is_alive() {
                e2e::signal(copy, Signal::SIGKILL);
            }
        });
    });
}
