//! Names and addresses: `--add-host`, `--dns` and what belongs to them.

use std::net::IpAddr;

/// A line for /etc/hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// As it was given.
    pub name: String,
    /// As it was given.
    pub address: String,
}

/// `NAME=ADDRESS`, `NAME:ADDRESS`; a version 6 address may stand in brackets.
pub fn add_host(text: &str) -> Result<Host, String> {
    let pair = text.split_once('=').or_else(|| text.split_once(':'));
    let Some((name, address)) = pair.filter(|(name, _)| !name.is_empty() && !name.contains(':')) else {
        return Err(format!("bad format for add-host: `{text}`"));
    };
    if address == "host-gateway" {
        return Err("`host-gateway` is not built yet: no network of a container here has a gateway".into());
    }
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if bare.parse::<IpAddr>().is_err() || name.contains(char::is_whitespace) {
        return Err(format!("invalid IP address in add-host: `{address}`"));
    }
    Ok(Host { name: name.to_owned(), address: bare.to_owned() })
}

/// The address of a name server.
pub fn name_server(text: &str) -> Result<String, String> {
    let address: IpAddr = text.trim().parse().map_err(|_| format!("`{text}` is not an IP address"))?;
    Ok(address.to_string())
}

/// A domain to search names in; `.` for none.
pub fn search_domain(text: &str) -> Result<String, String> {
    let domain = text.trim();
    let label =
        |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let good = domain == "." || domain.strip_suffix('.').unwrap_or(domain).split('.').all(label);
    if good && domain.len() <= 255 { Ok(domain.to_owned()) } else { Err(format!("`{text}` is not a valid domain")) }
}

/// What /etc/resolv.conf is to say; where a part is empty the host's stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers.
    pub servers: Vec<String>,
    /// Domains to search names in.
    pub search: Vec<String>,
    /// resolv.conf(5)'s options.
    pub options: Vec<String>,
}

impl Resolver {
    /// The container's resolv.conf, given the host's.
    pub fn file(&self, host: &str) -> String {
        if *self == Resolver::default() {
            return host.to_owned();
        }
        let lines = |keyword: &str| {
            let line = move |l: &&str| l.split_whitespace().next() == Some(keyword);
            host.lines().filter(line).map(|l| l.split_whitespace().skip(1).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let own = |given: &[String], host: Vec<&str>| {
            if given.is_empty() { host.into_iter().map(str::to_owned).collect() } else { given.to_vec() }
        };
        let servers = own(&self.servers, lines("nameserver").into_iter().flatten().collect());
        // Of several lines the last one counts (resolv.conf(5)).
        let search = own(&self.search, lines("search").pop().unwrap_or_default());
        let options = own(&self.options, lines("options").pop().unwrap_or_default());
        let mut out = String::new();
        if !search.is_empty() && search != ["."] {
            out += &format!("search {}\n", search.join(" "));
        }
        servers.iter().for_each(|s| out += &format!("nameserver {s}\n"));
        if !options.is_empty() {
            out += &format!("options {}\n", options.join(" "));
        }
        out
    }
}

/// A host name that the kernel takes.
pub fn host_name(text: &str) -> Result<String, String> {
    let bad = text.len() > 64 || text.contains(char::is_control);
    if bad { Err(format!("`{text}` is no host name: expected at most 64 characters")) } else { Ok(text.to_owned()) }
}

/// A port or range of ports with a protocol, as `--expose` takes it.
pub fn exposed_port(text: &str) -> Result<(), String> {
    let wrong = || format!("invalid range format for --expose: `{text}`");
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str()) {
        return Err(format!("invalid protocol `{protocol}` in --expose: expected tcp, udp or sctp"));
    }
    let port = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    if port(first)? > port(last)? { Err(wrong()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_name_and_an_address() {
        let host = |text| add_host(text).map(|h| format!("{} {}", h.address, h.name));
        assert_eq!(host("a:10.0.0.1").unwrap(), "10.0.0.1 a");
        assert_eq!(host("a=10.0.0.1").unwrap(), "10.0.0.1 a");
        assert_eq!(host("a:::1").unwrap(), "::1 a");
        assert_eq!(host("a=[::1]").unwrap(), "::1 a");
        for bad in ["a", "a:", "=1.2.3.4", ":1.2.3.4", "a:10.0.0", "::1=a", "a=b", "a=host-gateway"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert!(name_server("::1").is_ok() && name_server("1.2.3").is_err());
        assert!(search_domain(".").is_ok() && search_domain("a.b").is_ok() && search_domain("a b").is_err());
        for good in ["80", "80/udp", "1-3/tcp", "0"] {
            assert!(exposed_port(good).is_ok(), "{good}");
        }
        for bad in ["", "x", "3-1", "70000", "80/xyz"] {
            assert!(exposed_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_given_replaces_the_hosts_part() {
        let host = "# made by hand\nsearch one two\nnameserver 10.0.0.2\nnameserver 10.0.0.3\noptions edns0\n";
        assert_eq!(Resolver::default().file(host), host);
        let one = Resolver { servers: vec!["1.1.1.1".into()], ..Resolver::default() };
        assert_eq!(one.file(host), "search one two\nnameserver 1.1.1.1\noptions edns0\n");
        let none = Resolver { search: vec![".".into()], options: vec!["ndots:2".into()], ..Resolver::default() };
        assert_eq!(none.file(host), "nameserver 10.0.0.2\nnameserver 10.0.0.3\noptions ndots:2\n");
    }
}
