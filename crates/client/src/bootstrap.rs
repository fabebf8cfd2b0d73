//! Addresses of brokers as people write them: `host:port` separated by commas.
//!
//! What can't be an address is refused before anybody connects: a resolver that is asked for `host:99999` says something else, and late.

/// The port of an address that names none.
pub(crate) const PORT: u16 = 9092;

/// Why a list of addresses is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// There is none.
    #[error("there is no address: expected host:port of a broker, such as localhost:9092")]
    Empty,
    /// Nothing before the port.
    #[error("address '{address}' has no host: expected host:port, such as localhost:9092")]
    NoHost {
        /// The address.
        address: String,
    },
    /// What can't be part of a host's name.
    #[error(
        "address '{address}' has host '{host}': expected host:port of a broker, not a URL, and an IPv6 address in brackets, as [::1]:9092"
    )]
    Host {
        /// The address.
        address: String,
        /// What stands for its host.
        host: String,
    },
    /// What is no port.
    #[error("address '{address}' has port '{port}': expected a number from 1 to 65535")]
    Port {
        /// The address.
        address: String,
        /// What stands for its port.
        port: String,
    },
}

/// The addresses of a list, each with a port.
pub(crate) fn read(list: &str) -> Result<Vec<String>, BootstrapError> {
    let texts = list.split(',').map(str::trim).filter(|text| !text.is_empty());
    let addresses: Vec<String> = texts.map(read_one).collect::<Result<_, _>>()?;
    if addresses.is_empty() { Err(BootstrapError::Empty) } else { Ok(addresses) }
}

fn read_one(text: &str) -> Result<String, BootstrapError> {
    let address = || text.to_owned();
    // the colons of an IPv6 address are inside of its brackets
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() {
        return Err(BootstrapError::NoHost { address: address() });
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(inner) => inner.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.contains([':', '/', '[', ']', '@']) && !host.contains(char::is_whitespace),
    };
    if !is_host {
        return Err(BootstrapError::Host { address: address(), host: host.to_owned() });
    }
    let Some(port) = port else { return Ok(format!("{host}:{PORT}")) };
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(format!("{host}:{number}")),
        _ => Err(BootstrapError::Port { address: address(), port: port.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::{BootstrapError, read};

    #[test]
    fn addresses_are_read_as_they_are_written() {
        assert_eq!(
            read("a:1, b ,[::1]:3,[::1],10.0.0.1:65535,").unwrap(),
            ["a:1", "b:9092", "[::1]:3", "[::1]:9092", "10.0.0.1:65535"]
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_part_that_is_wrong() {
        for list in ["", " ", ","] {
            assert_eq!(read(list), Err(BootstrapError::Empty));
        }
        for (list, words) in [
            ("good:1,host:99999", "port '99999'"),
            ("host:0", "port '0'"),
            ("host:", "port ''"),
            ("host:kafka", "port 'kafka'"),
            ("host:+1", "port '+1'"),
            (":9092", "no host"),
            ("http://host:9092", "host 'http://host'"),
            ("a host:9092", "host 'a host'"),
            ("::1:9092", "in brackets"),
            ("[host]:9092", "host '[host]'"),
        ] {
            let error = read(list).unwrap_err().to_string();
            assert!(error.contains(words), "{list}: {error}");
        }
    }
}
