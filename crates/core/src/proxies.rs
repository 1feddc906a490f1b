//! Trusted proxies: whose headers are believed, and what those headers change (§8).

pub(crate) mod network;

use network::Network;

/// `WSGITrustedProxies`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<Network>,
}

impl TrustedProxies {
    /// Adds an address or a network; `false` if `item` is neither.
    #[must_use]
    pub fn add(&mut self, item: &[u8]) -> bool {
        let network = Network::parse(item);
        let valid = network.is_some();
        self.networks.extend(network);
        valid
    }

    /// Returns whether one of them has a large part of all addresses there are.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.networks.iter().any(Network::is_wide)
    }

    /// Returns whether `address` is one of them. What is not an IP address is not: names are never
    /// looked up, as that would let a client make the server wait for a resolver.
    #[must_use]
    pub fn trusts(&self, address: &[u8]) -> bool {
        let address = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
        address.is_some_and(|address| self.networks.iter().any(|network| network.contains(address)))
    }
}

/// `WSGITrustedProxyHeaders`: the recognised ones, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedHeaders {
    headers: Vec<Header>,
}

impl TrustedHeaders {
    /// Adds a header; `false` if `name` is no name of a header that can reach an application. A
    /// name without a meaning here is accepted, and has no effect.
    #[must_use]
    pub fn add(&mut self, name: &[u8]) -> bool {
        if !crate::headers::is_plain_name(name) {
            return false;
        }
        self.headers.extend(Header::named(name));
        true
    }

    /// Returns the changes that the headers of a request make.
    ///
    /// `peer` is the address of the client as the server sees it, `lookup` gives the value of a
    /// header. Without `proxies` every peer is trusted.
    pub fn overrides<'a>(
        &self,
        proxies: Option<&TrustedProxies>,
        peer: &[u8],
        lookup: impl Fn(Header) -> Option<&'a [u8]>,
    ) -> Overrides<'a> {
        let mut overrides = Overrides::default();
        if self.headers.is_empty() {
            return overrides;
        }
        let trusted = proxies.is_none_or(|proxies| proxies.trusts(peer));
        let mut winners = [None; Category::COUNT];
        for &header in &self.headers {
            overrides.matched |= 1 << header.category() as u16;
            if let Some(value) = lookup(header).filter(|_| trusted) {
                overrides.apply(header, value, proxies);
                winners[header.category() as usize] = Some(header);
            }
        }
        overrides.kept = winners.iter().flatten().fold(0, |kept, &header| kept | 1 << header as u16);
        overrides.scheme_decided = winners[Category::Scheme as usize].is_some();
        overrides
    }
}

macro_rules! headers {
    ($($variant:ident = $name:literal in $category:ident,)*) => {
        /// A header that means something when it comes from a trusted proxy.
        #[expect(missing_docs, reason = "the variants are named like the headers")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Header { $($variant,)* }

        impl Header {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            const fn category(self) -> Category {
                match self { $(Self::$variant => Category::$category,)* }
            }
        }
    };
}

headers! {
    XForwardedFor = "X-Forwarded-For" in Client,
    XClientIp = "X-Client-IP" in Client,
    XRealIp = "X-Real-IP" in Client,
    XForwardedHost = "X-Forwarded-Host" in Host,
    XHost = "X-Host" in Host,
    XForwardedServer = "X-Forwarded-Server" in Server,
    XForwardedPort = "X-Forwarded-Port" in Port,
    XScriptName = "X-Script-Name" in ScriptName,
    XForwardedScriptName = "X-Forwarded-Script-Name" in ScriptName,
    XForwardedProto = "X-Forwarded-Proto" in Scheme,
    XForwardedScheme = "X-Forwarded-Scheme" in Scheme,
    XScheme = "X-Scheme" in Scheme,
    XForwardedHttps = "X-Forwarded-HTTPS" in Scheme,
    XForwardedSsl = "X-Forwarded-SSL" in Scheme,
    XHttps = "X-HTTPS" in Scheme,
}

impl Header {
    /// Returns the header called `name`, in any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        if !matches!(name, [b'x' | b'X', b'-', ..]) {
            return None;
        }
        Self::ALL.iter().copied().find(|header| header.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Category {
    Client,
    Host,
    Server,
    Port,
    ScriptName,
    Scheme,
}

impl Category {
    const COUNT: usize = Self::Scheme as usize + 1;
}

/// Changes of an environ that the headers of a trusted proxy make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides<'a> {
    /// `REMOTE_ADDR`.
    pub remote_addr: Option<&'a [u8]>,
    /// `HTTP_X_FORWARDED_FOR`, if the header is not withheld.
    pub forwarded_for: Option<Vec<u8>>,
    /// `HTTP_HOST`.
    pub http_host: Option<&'a [u8]>,
    /// `SERVER_NAME`.
    pub server_name: Option<&'a [u8]>,
    /// `SERVER_PORT`.
    pub server_port: Option<&'a [u8]>,
    /// `SCRIPT_NAME` and `mod_wsgi.mount_point`.
    pub script_name: Option<&'a [u8]>,
    /// The variable `HTTPS` is set to `1` or removed.
    pub https: Option<bool>,
    /// The connection's own encryption does not matter.
    pub scheme_decided: bool,
    matched: u16,
    kept: u16,
}

impl<'a> Overrides<'a> {
    fn apply(&mut self, header: Header, value: &'a [u8], proxies: Option<&TrustedProxies>) {
        match header.category() {
            Category::Client if header == Header::XForwardedFor => self.forwarded_for(value, proxies),
            Category::Client => self.remote_addr = Some(value),
            Category::Host => self.http_host = Some(value),
            Category::Server => self.server_name = Some(value),
            Category::Port => self.server_port = Some(value),
            Category::ScriptName => self.script_name = Some(value),
            Category::Scheme => self.https = is_https(header, value).or(self.https),
        }
    }

    /// Proxies add themselves at the end of the list: what the last trusted one saw is believed,
    /// and what was in the list before is not.
    fn forwarded_for(&mut self, value: &'a [u8], proxies: Option<&TrustedProxies>) {
        let mut items =
            value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty());
        let Some(proxies) = proxies else {
            self.remote_addr = items.next().or(self.remote_addr);
            return;
        };
        let items: Vec<_> = items.collect();
        let trusted = items.iter().rev().take_while(|item| proxies.trusts(item)).count();
        let Some(client) = items.len().checked_sub((trusted + 1).min(items.len())) else { return };
        if let Some(&address) = items.get(client) {
            self.remote_addr = Some(address);
            self.forwarded_for = Some(items[client..].join(&b", "[..]));
        }
    }

    /// Returns whether the application must not see the header `name`.
    #[must_use]
    pub fn withholds(&self, name: &[u8]) -> bool {
        self.matched != 0
            && Header::named(name).is_some_and(|header| {
                self.matched & 1 << header.category() as u16 != 0 && self.kept & 1 << header as u16 == 0
            })
    }
}

fn is_https(header: Header, value: &[u8]) -> Option<bool> {
    let (yes, no): (&[&[u8]], &[&[u8]]) = match header {
        Header::XForwardedProto | Header::XForwardedScheme | Header::XScheme => (&[b"https"], &[b"http"]),
        _ => (&[b"on", b"true", b"1"], &[b"off", b"false", b"0"]),
    };
    let is_one_of = |words: &[&[u8]]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    if is_one_of(yes) {
        Some(true)
    } else if is_one_of(no) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(names: &[&str]) -> TrustedHeaders {
        let mut headers = TrustedHeaders::default();
        names.iter().for_each(|name| assert!(headers.add(name.as_bytes())));
        headers
    }

    fn proxies(items: &[&str]) -> TrustedProxies {
        let mut proxies = TrustedProxies::default();
        items.iter().for_each(|item| assert!(proxies.add(item.as_bytes()), "{item}"));
        proxies
    }

    fn process<'a>(
        configured: &[&str],
        proxies: Option<&TrustedProxies>,
        sent: &'a [(&'a str, &'a str)],
    ) -> Overrides<'a> {
        headers(configured).overrides(proxies, b"10.0.0.1", |header| {
            let found = sent.iter().find(|(name, _)| Header::named(name.as_bytes()) == Some(header));
            found.map(|(_, value)| value.as_bytes())
        })
    }

    #[test]
    fn forwarded_for_of_the_contract() {
        let trusted = proxies(&["127.0.0.1", "10.0.0.0/8", "::1"]);
        for (sent, address, rewritten) in [
            ("8.8.8.8, 1.1.1.1, 10.1.1.1, 10.2.2.2", "1.1.1.1", "1.1.1.1, 10.1.1.1, 10.2.2.2"),
            ("8.8.8.8, 1.1.1.1", "1.1.1.1", "1.1.1.1"),
            ("10.9.9.9, 10.1.1.1", "10.9.9.9", "10.9.9.9, 10.1.1.1"),
            ("8.8.8.8, bogus, 10.1.1.1", "bogus", "bogus, 10.1.1.1"),
            (" ,8.8.8.8,, 10.1.1.1 ,", "8.8.8.8", "8.8.8.8, 10.1.1.1"),
            ("10.1.1.1", "10.1.1.1", "10.1.1.1"),
            ("8.8.8.8, ::1", "8.8.8.8", "8.8.8.8, ::1"),
            ("8.8.8.8, ::ffff:10.1.1.1", "8.8.8.8", "8.8.8.8, ::ffff:10.1.1.1"),
            ("8.8.8.8, [::1]", "[::1]", "[::1]"),
            ("8.8.8.8, 10.1.1.1:80", "10.1.1.1:80", "10.1.1.1:80"),
            ("8.8.8.8, 010.1.1.1", "010.1.1.1", "010.1.1.1"),
        ] {
            let sent = [("X-Forwarded-For", sent)];
            let overrides = process(&["X-Forwarded-For"], Some(&trusted), &sent);
            assert_eq!(overrides.remote_addr, Some(address.as_bytes()), "{sent:?}");
            assert_eq!(overrides.forwarded_for.as_deref(), Some(rewritten.as_bytes()), "{sent:?}");
            assert!(!overrides.withholds(b"X-Forwarded-For"));
        }
    }

    #[test]
    fn forwarded_for_without_proxies_is_its_first_item() {
        let sent = [("X-Forwarded-For", " , 8.8.8.8 , 1.1.1.1")];
        let overrides = process(&["x-forwarded-for"], None, &sent);
        assert_eq!(overrides.remote_addr, Some(&b"8.8.8.8"[..]));
        assert_eq!(overrides.forwarded_for, None);
    }

    #[test]
    fn forwarded_for_without_items_changes_nothing() {
        let trusted = proxies(&["10.0.0.0/8"]);
        for proxies in [None, Some(&trusted)] {
            let sent = [("X-Forwarded-For", " , ")];
            let overrides = process(&["X-Forwarded-For"], proxies, &sent);
            assert_eq!((overrides.remote_addr, &overrides.forwarded_for), (None, &None));
            assert!(!overrides.withholds(b"x-forwarded-for"));
        }
    }

    #[test]
    fn each_header_has_its_effect() {
        let sent = [
            ("X-Real-IP", "1.2.3.4"),
            ("X-Host", "h:81"),
            ("X-Forwarded-Server", "s"),
            ("X-Forwarded-Port", "82"),
            ("X-Script-Name", "/mnt"),
            ("X-Forwarded-Proto", "HTTPS"),
        ];
        let names: Vec<_> = sent.iter().map(|(name, _)| *name).collect();
        let overrides = process(&names, None, &sent);
        assert_eq!(overrides.remote_addr, Some(&b"1.2.3.4"[..]));
        assert_eq!(overrides.http_host, Some(&b"h:81"[..]));
        assert_eq!(overrides.server_name, Some(&b"s"[..]));
        assert_eq!(overrides.server_port, Some(&b"82"[..]));
        assert_eq!(overrides.script_name, Some(&b"/mnt"[..]));
        assert_eq!((overrides.https, overrides.scheme_decided), (Some(true), true));
    }

    #[test]
    fn schemes_are_words() {
        for (header, value, https) in [
            ("X-Forwarded-Proto", "http", Some(false)),
            ("X-Scheme", "on", None),
            ("X-Forwarded-Scheme", "wss", None),
            ("X-Forwarded-HTTPS", "On", Some(true)),
            ("X-Forwarded-SSL", "TRUE", Some(true)),
            ("X-HTTPS", "1", Some(true)),
            ("X-HTTPS", "Off", Some(false)),
            ("X-HTTPS", "false", Some(false)),
            ("X-HTTPS", "0", Some(false)),
            ("X-HTTPS", "https", None),
        ] {
            let sent = [(header, value)];
            let overrides = process(&[header], None, &sent);
            assert_eq!(overrides.https, https, "{header}: {value}");
            assert!(overrides.scheme_decided, "{header}: {value}");
        }
        assert!(!process(&["X-HTTPS"], None, &[]).scheme_decided);
    }

    #[test]
    fn the_last_present_header_of_a_category_wins() {
        let sent = [("X-Real-IP", "1.1.1.1"), ("X-Client-IP", "2.2.2.2"), ("X-Forwarded-For", "3.3.3.3")];
        let overrides = process(&["X-Client-IP", "X-Real-IP"], None, &sent);
        assert_eq!(overrides.remote_addr, Some(&b"1.1.1.1"[..]));
        assert!(!overrides.withholds(b"x-real-ip"));
        assert!(overrides.withholds(b"X-Client-IP"));
        assert!(overrides.withholds(b"X-Forwarded-For"), "of the category, though not configured");
        assert!(!overrides.withholds(b"X-Forwarded-Proto"), "another category");
        assert!(!overrides.withholds(b"X-Unknown") && !overrides.withholds(b"Host"));
    }

    #[test]
    fn an_untrusted_peer_loses_its_headers() {
        for list in [proxies(&["192.168.0.0/16"]), TrustedProxies::default()] {
            let sent = [("X-Forwarded-For", "3.3.3.3"), ("X-Forwarded-Proto", "https")];
            let overrides = process(&["X-Forwarded-For", "X-Forwarded-Proto"], Some(&list), &sent);
            assert_eq!((overrides.remote_addr, overrides.https), (None, None));
            assert!(!overrides.scheme_decided);
            for name in ["X-Forwarded-For", "X-Real-IP", "X-HTTPS"] {
                assert!(overrides.withholds(name.as_bytes()), "{name}");
            }
            assert!(!overrides.withholds(b"X-Host"));
        }
    }

    #[test]
    fn no_headers_no_processing() {
        let overrides = process(&[], Some(&TrustedProxies::default()), &[("X-Real-IP", "1.1.1.1")]);
        assert_eq!(overrides, Overrides::default());
        assert!(!overrides.withholds(b"X-Real-IP"));
    }

    #[test]
    fn names_are_checked() {
        let mut headers = TrustedHeaders::default();
        assert!(headers.add(b"X-Unknown") && headers.headers.is_empty());
        for name in ["X_Forwarded_For", "", "X Host", "X-H\u{e9}"] {
            assert!(!headers.add(name.as_bytes()), "{name}");
        }
    }

    /// Returns the rule as the contract words it.
    fn model(items: &[String], trusted: &TrustedProxies) -> Option<(String, String)> {
        let mut first_trusted = items.len();
        while first_trusted > 0 && trusted.trusts(items[first_trusted - 1].as_bytes()) {
            first_trusted -= 1;
        }
        let client = if items.is_empty() {
            return None;
        } else if first_trusted == items.len() {
            items.len() - 1
        } else {
            first_trusted.saturating_sub(1)
        };
        Some((items[client].clone(), items[client..].join(", ")))
    }

    proptest! {
        #[test]
        fn forwarded_for_agrees_with_the_model(
            items in proptest::collection::vec("10\\.0\\.0\\.[1-9]|8\\.8\\.8\\.[1-9]|x{1,2}", 0..6),
            separator in "[ ]{0,2},[ ,]{0,2}",
        ) {
            let trusted = proxies(&["10.0.0.0/8"]);
            let value = items.join(&separator);
            let sent = [("X-Forwarded-For", value.as_str())];
            let overrides = process(&["X-Forwarded-For"], Some(&trusted), &sent);
            let got = overrides.remote_addr.zip(overrides.forwarded_for.as_deref());
            let expected = model(&items, &trusted);
            let expected = expected.as_ref().map(|(address, list)| (address.as_bytes(), list.as_bytes()));
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn any_value_is_processed(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let trusted = proxies(&["10.0.0.0/8", "::1"]);
            for &header in Header::ALL {
                let overrides = headers(&[header.name()]).overrides(Some(&trusted), b"::1", |_| Some(&value));
                prop_assert!(!overrides.withholds(header.name().as_bytes()));
            }
        }
    }
}
