//! The kinds of lines that configurations of well-known applications have: all of them are accepted
//! as they are.

use super::*;
use crate::daemon::DaemonGroup;

/// Lines of an application's configuration; those that are indented stand in a virtual host.
const CONFIGURATIONS: &[(&str, &[&str])] = &[
    (
        "Django, embedded",
        &[
            "WSGIScriptAlias / /srv/site/site/wsgi.py",
            "WSGIPythonHome /venv",
            "WSGIPythonPath /usr",
            "WSGIPassAuthorization On",
        ],
    ),
    (
        "Django, in a daemon",
        &[
            " WSGIDaemonProcess site.example user=joe group=staff processes=2 threads=15 display-name=%{GROUP} home=/srv \
             python-home=/venv python-path=/usr lang='C.UTF-8' locale='C.UTF-8' umask=0007",
            " WSGIProcessGroup site.example",
            " WSGIApplicationGroup %{GLOBAL}",
            " WSGIScriptAlias / \"/srv/site/site/wsgi.py\"",
        ],
    ),
    (
        "Flask",
        &[
            "WSGIDaemonProcess shop threads=5",
            "WSGIScriptAlias /shop /srv/shop/shop.wsgi process-group=shop application-group=%{GLOBAL}",
            "WSGICallableObject app",
            "WSGIScriptReloading On",
        ],
    ),
    (
        "Graphite",
        &[
            "WSGISocketPrefix /var/run/wsgi",
            " WSGIDaemonProcess _graphite processes=5 threads=5 display-name='%{GROUP}' inactivity-timeout=120 user=joe",
            " WSGIProcessGroup _graphite",
            " WSGIApplicationGroup %{GLOBAL}",
            " WSGIImportScript /usr/share/graphite.wsgi process-group=_graphite application-group=%{GLOBAL}",
            " WSGIScriptAlias / /usr/share/graphite.wsgi",
        ],
    ),
    (
        "OpenStack: a public API with federation",
        &[
            " WSGIDaemonProcess api-public processes=5 threads=1 user=joe group=staff display-name=%{GROUP} home=/var/lib",
            " WSGIProcessGroup api-public",
            " WSGIScriptAlias / /usr/bin/api-wsgi-public",
            " WSGIScriptAliasMatch ^(/v3/OS-FEDERATION/identity_providers/.*?/protocols/.*?/auth)$ /usr/bin/api/$1",
            " WSGIApplicationGroup %{GLOBAL}",
            " WSGIPassAuthorization On",
            " WSGIChunkedRequest On",
        ],
    ),
    (
        "OpenStack: a dashboard",
        &[
            "WSGISocketPrefix run/wsgi",
            "WSGIDaemonProcess dashboard deadlock-timeout=60 maximum-requests=1000 processes=3 threads=10",
            "WSGIProcessGroup dashboard",
            "WSGIScriptAlias /dashboard /usr/share/dashboard/wsgi.py",
            "WSGIScriptReloading On",
        ],
    ),
    (
        "FreeIPA",
        &[
            "WSGISocketPrefix /run/httpd/wsgi",
            "WSGIDaemonProcess ipa processes=4 threads=1 maximum-requests=500 user=joe group=staff display-name=%{GROUP} \
             socket-timeout=2147483647 lang=C.UTF-8 locale=C.UTF-8",
            "WSGIImportScript /usr/share/ipa/wsgi.py process-group=ipa application-group=ipa",
            "WSGIScriptAlias /ipa /usr/share/ipa/wsgi.py",
            "WSGIProcessGroup ipa",
            "WSGIApplicationGroup ipa",
            "WSGIScriptReloading Off",
            "WSGIDaemonProcess kdcproxy processes=2 threads=15 maximum-requests=5000 user=joe display-name=%{GROUP}",
            "WSGIImportScript /usr/lib/kdcproxy.py process-group=kdcproxy application-group=kdcproxy",
            "WSGIScriptAlias /KdcProxy /usr/lib/kdcproxy.py process-group=kdcproxy",
        ],
    ),
    (
        "Pulp",
        &[
            "WSGIDaemonProcess pulp user=joe group=staff processes=3 display-name=%{GROUP}",
            "WSGIImportScript /usr/share/pulp/content.wsgi process-group=pulp application-group=pulp",
            "WSGIScriptAlias /pulp/content /usr/share/pulp/content.wsgi",
            "WSGIProcessGroup pulp",
            "WSGIApplicationGroup pulp",
        ],
    ),
    (
        "Trac and hgweb",
        &[
            "WSGIDaemonProcess trac threads=10 python-eggs=/var/cache/eggs display-name=trac.example",
            "WSGIScriptAliasMatch \"^/tools/[^/]+(?=/(?:wiki|timeline|ticket)(?:/|$))\" /srv/trac.wsgi process-group=trac",
            "WSGIScriptAliasMatch ^/hg(.*) /srv/hgweb.wsgi$1",
            "WSGIPassAuthorization On",
        ],
    ),
    (
        "MoinMoin and Roundup",
        &[
            "WSGIDaemonProcess wiki user=joe group=staff processes=5 threads=10 maximum-requests=1000 umask=0007",
            "WSGIProcessGroup wiki",
            "WSGIScriptAlias /wiki/ /srv/moin.wsgi",
            "WSGIScriptAlias /tracker /srv/roundup.wsgi",
        ],
    ),
    (
        "Fedora's account system",
        &[
            "WSGIRestrictStdout On",
            "WSGIRestrictSignal Off",
            "WSGIPythonOptimize 1",
            "WSGIDaemonProcess fas  processes=2 threads=2 maximum-requests=1000 user=joe display-name=fas inactivity-timeout=30",
            "WSGIScriptAlias /accounts /usr/sbin/fas.wsgi/accounts",
            "WSGIProcessGroup fas",
        ],
    ),
    (
        "several groups, chosen by a variable",
        &[
            "WSGIDaemonProcess joe:1 threads=25",
            "WSGIDaemonProcess joe:2 threads=25",
            "WSGIProcessGroup %{ENV:PROCESS_GROUP}",
            "WSGIRestrictProcess joe:1 joe:2",
            "WSGIRestrictEmbedded On",
            "WSGIAcceptMutex default",
        ],
    ),
    (
        "all that mod_wsgi-express writes",
        &[
            "WSGIDaemonProcess localhost:8000 display-name='(wsgi:localhost:8000:0)' home='/srv' threads=5 \
             maximum-requests=0 python-path='' python-eggs='/tmp/eggs' lang='C.UTF-8' locale='C.UTF-8' listen-backlog=100 \
             queue-timeout=45 socket-timeout=60 connect-timeout=15 request-timeout=60 interrupt-timeout=0 \
             inactivity-timeout=0 startup-timeout=15 deadlock-timeout=60 graceful-timeout=15 eviction-timeout=0 \
             restart-interval=0 cpu-time-limit=0 shutdown-timeout=5 send-buffer-size=0 receive-buffer-size=0 \
             header-buffer-size=0 response-buffer-size=0 response-socket-timeout=0 server-metrics=Off",
            "WSGIHandlerScript wsgi-handler '/srv/handler.wsgi' process-group='localhost:8000' application-group=%{GLOBAL}",
            "WSGIImportScript '/srv/handler.wsgi' process-group='localhost:8000' application-group=%{GLOBAL}",
            "WSGIPassAuthorization On",
            "WSGIMapHEADToGET Auto",
            "WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto",
            "WSGITrustedProxies 10.0.0.0/8 ::1",
        ],
    ),
    (
        "limits in bytes",
        &[
            "WSGIDaemonProcess app threads=5 socket-timeout=20 memory-limit=850000000 virtual-memory-limit=850000000 \
             stack-size=524288 cpu-priority=5 cpu-time-limit=600 display-name=[wsgi-app]httpd",
            "WSGIScriptAlias / /srv/app.wsgi process-group=app",
        ],
    ),
];

#[test]
fn configurations_of_well_known_applications_are_accepted() {
    for (name, lines) in CONFIGURATIONS {
        let mut server = Server::default();
        for line in *lines {
            let scope = if line.starts_with(' ') { Scope::VirtualHost } else { Scope::Main };
            assert_eq!(server.diagnostic(scope, line.trim_start()), Ok(None), "{name}: {line}");
        }
        assert_eq!(server.review(), [], "{name}");
    }
}

#[test]
fn the_defaults_of_mod_wsgi_express_are_read_as_meant() {
    let (_, lines) = CONFIGURATIONS.iter().find(|(name, _)| name.contains("express")).unwrap();
    let mut server = Server::default();
    server.line(lines[0]);
    let group = &server.global.daemons[0];
    let plain = DaemonGroup::new(b"localhost:8000", None);
    assert_eq!(group.transport, plain.transport, "a buffer size of 0 is the default");
    assert_eq!((group.options.limits.queue_timeout, group.options.limits.startup_timeout), (45_000, 15_000));
    assert_eq!((group.options.limits.restart_interval, group.options.limits.maximum_requests), (0, 0));
}
