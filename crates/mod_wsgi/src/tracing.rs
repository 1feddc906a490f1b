//! Spans of requests for OpenTelemetry (`WSGIOpenTelemetry`).
//!
//! The parent makes a pair of sockets before it forks its children. A child sends each span as a
//! datagram when its request has ended, and never waits: what the exporter does not take in time is
//! dropped and counted. The sockets belong to the generation, so an exporter ends with it.

use std::cell::Cell;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use httpd::{Identity, Level, Request, Server, ServerInfo, Status};
use os::descriptors::{self, Kind, Wait};
use os::shared::LongWords;
use wsgi_core::codes::{EXPORTER_NOT_STARTED, OPENTELEMETRY_NOT_SET_UP};
use wsgi_core::config::Global;
use wsgi_core::opentelemetry::Resolved;
use wsgi_core::tracing::{IdGenerator, Sampler, TraceContext};
use wsgi_core::wire::exporter::{ExporterPlan, counts};
use wsgi_core::wire::launch::{Account, Variable};
use wsgi_core::wire::span::Span;

use crate::installation::Installation;
use crate::ledger::{self, Entry};
use crate::request_facts::Groups;
use crate::{child, daemon, log};

/// The size of the buffer of spans that are on their way, in bytes. (The system may allow less.)
const BUFFER: usize = 1 << 20;

/// The parts of a generation for OpenTelemetry.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// The exporter's configuration.
    pub(crate) plan: ExporterPlan,
    /// The part of the parent, from which the supervisor starts the exporter.
    pub(crate) exporter: ExporterFiles,
    /// The part of the children.
    pub(crate) tracer: Tracer,
}

/// The descriptors that the exporter gets.
#[derive(Debug)]
pub(crate) struct ExporterFiles {
    pub(crate) spans: OwnedFd,
    pub(crate) counts: OwnedFd,
    pub(crate) headers: Option<OwnedFd>,
    /// The state of the server, if it has metrics.
    pub(crate) state: Option<StateFiles>,
}

/// The descriptors by which the exporter reads the state of the server. It can write to none of
/// them.
#[derive(Debug)]
pub(crate) struct StateFiles {
    pub(crate) layout: OwnedFd,
    pub(crate) ledger: OwnedFd,
    pub(crate) tallies: OwnedFd,
}

/// The part of the children: which requests have spans, and where those go.
#[derive(Debug)]
pub(crate) struct Tracer {
    /// `None` if no request has a span.
    sampler: Option<Sampler>,
    /// True if spans have the address of the client.
    client_address: bool,
    /// The socket of spans. The exporter ends when nobody holds it any more.
    exporter: OwnedFd,
}

/// The words in which spans are counted, with their file. Made once, so that they count for the
/// life of the server.
static COUNTS: OnceLock<(OwnedFd, LongWords)> = OnceLock::new();

/// The tracer of this child; unset or `None` if there are no spans.
static TRACER: OnceLock<Option<ChildTracer>> = OnceLock::new();

/// The tracer of a child.
struct ChildTracer {
    sampler: Sampler,
    client_address: bool,
    exporter: OwnedFd,
}

thread_local! {
    // No destructor, see `httpd::guard`.
    static IDS: Cell<Option<IdGenerator>> = const { Cell::new(None) };
}

/// Prepares what the configuration wants exported; `None` if that is nothing. What is wrong is
/// logged, and the server goes on without.
pub(crate) fn prepare(
    server: &Server,
    info: &ServerInfo,
    global: &Global,
    installation: &Installation,
) -> Option<Telemetry> {
    let settings = &global.opentelemetry;
    let mut warnings = Vec::new();
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let resolved = settings.resolve(&variable, &mut |text| warnings.push(text));
    for text in warnings {
        log::server_message(server, OPENTELEMETRY_NOT_SET_UP, text);
    }
    let Resolved { plan, sampler } = resolved?;
    if let Err(text) = installation.exporter() {
        let text = format_args!("{text}. The server goes on without OpenTelemetry");
        log::server_message(server, EXPORTER_NOT_STARTED, text);
        return None;
    }
    let headers = settings.headers_file.as_deref().and_then(|path| open_headers(server, path));
    let state = plan.metrics.as_ref().and_then(|_| state_files());
    match descriptors() {
        Ok((sender, spans, counts)) => Some(Telemetry {
            plan: ExporterPlan {
                has_headers_file: headers.is_some(),
                has_state: state.is_some(),
                ..complete(plan, server, info)
            },
            exporter: ExporterFiles { spans, counts, headers, state },
            tracer: Tracer { sampler, client_address: settings.client_address, exporter: sender },
        }),
        Err(error) => {
            let text = format_args!(
                "there are no descriptors or no memory for the exporter ({error}): raise the limit of open files (ulimit -n). \
                 The server goes on without OpenTelemetry"
            );
            log::server_message(server, EXPORTER_NOT_STARTED, text);
            None
        }
    }
}

/// Opens the file of headers as the server's first user, for the exporter alone: its content never
/// is in Apache's memory, where applications of embedded mode could find it.
fn open_headers(server: &Server, path: &[u8]) -> Option<OwnedFd> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    match File::open(path) {
        Ok(file) => Some(file.into()),
        Err(error) => {
            let text = format_args!(
                "the file of headers-file=, {}, cannot be opened: {error}. Collectors get no headers from it",
                path.display()
            );
            log::server_message(server, OPENTELEMETRY_NOT_SET_UP, text);
            None
        }
    }
}

/// Returns the state of the server for a reader; `None` if there is none, which the log says.
fn state_files() -> Option<StateFiles> {
    let (ledger, layout) = ledger::for_reader()?;
    let layout = os::message::file(c"mod_wsgi layout", &layout).ok()?;
    Some(StateFiles { layout, ledger, tallies: daemon::tallies::for_reader()? })
}

/// Returns the number of spans that were lost, since the start of the server.
pub(crate) fn dropped_spans() -> u64 {
    let Some((_, words)) = COUNTS.get() else { return 0 };
    counts::LOST.iter().map(|word| words.as_slice()[*word].load(Ordering::Relaxed)).sum()
}

/// Makes the sockets of spans, the children's end first, and the words in which they are counted.
fn descriptors() -> io::Result<(OwnedFd, OwnedFd, OwnedFd)> {
    let (sender, spans) = descriptors::pair(Kind::Sequence)?;
    // Nothing comes back.
    descriptors::make_send_only(&sender)?;
    descriptors::set_buffers(&sender, Some(BUFFER), None)?;
    let counts = match COUNTS.get() {
        Some((file, _)) => file.try_clone()?,
        None => {
            let file = LongWords::create_for_writers(c"mod_wsgi spans", counts::WORDS)?;
            let words = LongWords::map(&file, counts::WORDS)?;
            COUNTS.get_or_init(|| (file, words)).0.try_clone()?
        }
    };
    Ok((sender, spans, counts))
}

/// Adds to a plan what only Apache knows.
fn complete(plan: ExporterPlan, server: &Server, info: &ServerInfo) -> ExporterPlan {
    let Identity { uid, gid } = info.identity();
    let [major, minor, patch] = info.version();
    let mut resource: Vec<Variable> = Vec::new();
    let mut add = |name: &str, value: &str| resource.push((name.as_bytes().into(), value.as_bytes().into()));
    add("service.instance.id", instance());
    add("webengine.name", "Apache");
    add("webengine.version", &format!("{major}.{minor}.{patch}"));
    // What the administrator says comes last, and wins.
    resource.extend(plan.resource);
    let levels = [Level::Warn, Level::Notice, Level::Info, Level::Debug];
    let taken = levels.into_iter().take_while(|level| log::is_enabled_for_server(server, *level));
    let generations = COUNTS.get().map(|(_, words)| &words.as_slice()[counts::GENERATIONS]);
    let generation = generations.map_or(0, |count| count.fetch_add(1, Ordering::Relaxed));
    ExporterPlan {
        account: os::accounts::is_root().then(|| Account { uid, gid, supplementary: Some(vec![gid]) }),
        log_level: taken.last().unwrap_or(Level::Error) as u8,
        resource,
        server_pid: std::process::id(),
        // (After so many, numbers begin again.)
        generation: generation as u32,
        ..plan
    }
}

/// Returns the id of this server: the same until it is stopped, another one on each start.
fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        // A random UUID, of version 4.
        let (high, low) = (os::random::number(), os::random::number());
        let high = high & !0xf000 | 0x4000;
        let low = low & !(0b11 << 62) | 0b10 << 62;
        let (time, middle, version) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
        format!("{time:08x}-{middle:04x}-{version:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
    })
}

/// Prepares a child, which makes spans with this tracer of its generation, if there is one.
pub(crate) fn child_init(tracer: Option<&Tracer>) {
    TRACER.get_or_init(|| {
        let Tracer { sampler, client_address, exporter } = tracer?;
        // (Without a descriptor left there are no spans, and few requests.)
        let (sampler, exporter) = ((*sampler)?, exporter.try_clone().ok()?);
        Some(ChildTracer { sampler, client_address: *client_address, exporter })
    });
}

/// The span of a request that is under way, if it is recorded.
pub(crate) struct ServerSpan<'r> {
    tracer: &'static ChildTracer,
    context: TraceContext,
    parent: Option<TraceContext>,
    /// True if the parent is the span of another request of this server.
    is_internal: bool,
    /// The time at which it begins, in microseconds since the epoch.
    start: i64,
    process_group: Cell<&'r [u8]>,
    application_group: Cell<&'r [u8]>,
    /// The scheme of the URL; that of the connection until more is known.
    scheme: Cell<Option<&'static [u8]>>,
    /// The process that had the request, and the time that it waited there.
    served: Cell<(u32, Option<u64>)>,
}

/// Makes the span of a request, and has the request carry it on to the application. Returns `None`
/// if it is not recorded.
#[inline]
pub(crate) fn begin(request: &Request) -> Option<ServerSpan<'_>> {
    match TRACER.get() {
        Some(Some(tracer)) => tracer.begin(request),
        _ => None,
    }
}

const TRACEPARENT: &CStr = c"traceparent";
const TRACESTATE: &CStr = c"tracestate";

impl ChildTracer {
    fn begin<'r>(&'static self, request: &'r Request) -> Option<ServerSpan<'r>> {
        let headers = request.headers_in();
        let parent = headers.value(TRACEPARENT).and_then(TraceContext::parse);
        if parent.is_none() && headers.value(TRACESTATE).is_some() {
            // It belongs to a trace that is not known.
            headers.unset(TRACESTATE);
        }
        if let Some(parent) = parent
            && !self.sampler.samples(&parent.trace, Some(&parent))
            && !parent.is_sampled
        {
            // It goes on as it has come.
            return None;
        }
        let context = with_ids(|ids| {
            let (trace, span) = (parent.map_or_else(|| ids.trace(), |parent| parent.trace), ids.span());
            TraceContext { trace, span, is_sampled: self.sampler.samples(&trace, parent.as_ref()) }
        });
        let header = context.header();
        // Neither this nor its parts contain a NUL byte.
        let _ = headers.set_copied(TRACEPARENT, &header);
        if !context.is_sampled {
            return None;
        }
        let _ = request.notes().set_copied(TRACE_NOTE, &header[3..35]);
        let _ = request.notes().set_copied(SPAN_NOTE, &header[36..52]);
        let is_internal = is_within_span(request);
        Some(ServerSpan {
            tracer: self,
            context,
            parent,
            is_internal,
            start: if is_internal { os::clock::microseconds() } else { request.time() },
            process_group: Cell::new(b""),
            application_group: Cell::new(b""),
            scheme: Cell::new(None),
            served: Cell::new((0, None)),
        })
    }

    fn send(&self, span: &Span<'_>) {
        if descriptors::send_with(&self.exporter, &span.encode(), &[], Wait::Never).is_err()
            && let Some((_, words)) = COUNTS.get()
        {
            words.as_slice()[counts::NOT_TAKEN].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The notes of requests that are recorded, for `LogFormat` and `ErrorLogFormat`.
const TRACE_NOTE: &CStr = c"mod_wsgi.trace_id";
const SPAN_NOTE: &CStr = c"mod_wsgi.span_id";

impl<'r> ServerSpan<'r> {
    /// Notes the groups of the request.
    pub(crate) fn set_groups(&self, request: &'r Request, groups: Groups<'_>) {
        self.process_group.set(request.pool().copy(groups.process_group));
        self.application_group.set(request.pool().copy(groups.application_group));
    }

    /// Notes whether the URL is one of `https`, as the application learns it: a proxy may have said so.
    pub(crate) fn set_https(&self, is_https: bool) {
        self.scheme.set(Some(if is_https { &b"https"[..] } else { b"http" }));
    }

    /// Notes which process had the request, as its entry in the ledger says.
    pub(crate) fn set_served(&self, entry: &Entry<'_>) {
        self.served.set(match self.process_group.get() {
            b"" => (child::process_id(), None),
            _ => (entry.process(), entry.queue_time()),
        });
    }

    /// Ends the span with its request, to which the handler has returned `status`.
    pub(crate) fn end(self, request: &Request, status: Status) {
        let status = match status {
            Status::Http(status) => status,
            _ => request.final_status(),
        };
        let (pid, queue_time) = self.served.get();
        let span = Span {
            trace: *self.context.trace.bytes(),
            id: *self.context.span.bytes(),
            parent: self.parent.map_or([0; 8], |parent| *parent.span.bytes()),
            is_internal: self.is_internal,
            start: self.start.max(0).cast_unsigned(),
            end: os::clock::microseconds().max(0).cast_unsigned(),
            status,
            method: request.method().unwrap_or_default(),
            scheme: self.scheme.get().unwrap_or_else(|| request.scheme()),
            path: request.uri().unwrap_or_default(),
            host: request.hostname().unwrap_or_else(|| request.server().name()),
            port: request.server_port(),
            protocol: request.protocol().unwrap_or_default(),
            state: request.headers_in().value(TRACESTATE).unwrap_or_default(),
            client: if self.tracer.client_address { request.useragent_ip().unwrap_or_default() } else { b"" },
            process_group: self.process_group.get(),
            application_group: self.application_group.get(),
            pid,
            queue_time,
        };
        self.tracer.send(&span);
    }
}

/// Returns whether a request is made within one that has a span. What Apache itself redirects before
/// an application has it, by rules of rewriting say, is the client's request still.
fn is_within_span(request: &Request) -> bool {
    std::iter::successors(request.outer(), |request| request.outer())
        .any(|outer| outer.notes().value(SPAN_NOTE).is_some())
}

/// Calls `make` with this thread's generator of ids. Only threads of children have one, so that no
/// two processes have the same after a fork.
fn with_ids<T>(make: impl FnOnce(&mut IdGenerator) -> T) -> T {
    let seed = || IdGenerator::new([os::random::number(), os::random::number()]);
    let mut ids = IDS.get().unwrap_or_else(seed);
    let made = make(&mut ids);
    IDS.set(Some(ids));
    made
}
