//! Addresses to listen on, as people write them.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// HOST:PORT, where HOST is a number or a name of this machine.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let examples = |port: &str| {
        format!("such as 127.0.0.1:{port} for this machine alone, or 0.0.0.0:{port} for others as well")
    };
    if text.contains("://") {
        return Err(format!("it is a URL, and an address to listen on is HOST:PORT, {}", examples("7777")));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("it has no port: HOST:PORT, {}", examples("7777")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<u16>() {
            Ok(_) => format!("it has no host: HOST:PORT, {}", examples(text)),
            Err(_) => format!("it has no port: HOST:PORT, {}", examples("7777")),
        });
    };
    let Ok(number) = port.parse::<u16>() else {
        return Err(format!("`{port}` is no port: a number up to 65535, {}", examples("7777")));
    };
    if host.is_empty() {
        return Err(format!("it has no host: HOST:PORT, {}", examples(port)));
    }
    let addresses: Vec<SocketAddr> = (host.trim_matches(['[', ']']), number)
        .to_socket_addrs()
        .map_err(|e| {
            format!(
                "the name `{host}` leads nowhere ({e}): give an address of this machine, {}",
                examples(port)
            )
        })?
        .collect();
    // What most peers will try.
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.copied().ok_or_else(|| format!("the name `{host}` has no address: {}", examples(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_taken_and_the_rest_is_explained() {
        for (text, address) in [
            ("127.0.0.1:7777", "127.0.0.1:7777"),
            ("[::1]:0", "[::1]:0"),
            ("localhost:7777", "127.0.0.1:7777"),
        ] {
            assert_eq!(listen_address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for (text, part) in [
            ("7777", "127.0.0.1:7777"),
            (":7778", "0.0.0.0:7778"),
            ("localhost", "no port"),
            ("0.0.0.0", "no port"),
            ("::1", "no port"),
            ("localhost:http", "`http` is no port"),
            ("localhost:70000", "`70000` is no port"),
            ("http://localhost:7777", "is a URL"),
            ("no-such-machine.invalid:7777", "leads nowhere"),
        ] {
            let said = listen_address(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
