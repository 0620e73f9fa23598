//! `--add-host host:ip`.

use std::net::IpAddr;

use super::value::ValueError;

/// One more line for the hosts file of build steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub host: String,
    /// Where it leads.
    pub target: HostTarget,
}

/// Where an extra host leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostTarget {
    /// Addresses as they were typed, without brackets.
    Addresses(Vec<String>),
    /// The machine that the daemon runs on; only some drivers know its address.
    Gateway,
}

/// Word for the daemon's own machine.
const GATEWAY: &str = "host-gateway";

/// Parses all values of the flag; each may be one CSV record of several hosts.
///
/// # Errors
///
/// `invalid host X`, or a CSV error in the words of the flag.
pub fn parse(values: &[String]) -> Result<Vec<ExtraHost>, ValueError> {
    let mut hosts = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        let fields = super::csv::fields(value).map_err(|error| error.of_flag("--add-host", value))?;
        for field in &fields {
            hosts.push(parse_one(field)?);
        }
    }
    Ok(hosts)
}

fn parse_one(text: &str) -> Result<ExtraHost, ValueError> {
    let refused = || {
        ValueError::new(format!("invalid host {text}"))
            .hint("Extra hosts are written `name:address` or `name=address`")
    };
    let (host, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(host, address)| !host.is_empty() && !address.is_empty())
        .ok_or_else(refused)?;
    let target = if address == GATEWAY {
        HostTarget::Gateway
    } else {
        let addresses: Option<Vec<String>> = address.split(',').map(plain_address).collect();
        HostTarget::Addresses(addresses.ok_or_else(refused)?)
    };
    Ok(ExtraHost {
        host: host.to_owned(),
        target,
    })
}

fn plain_address(text: &str) -> Option<String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .filter(|bare| !bare.is_empty())
        .unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|_| bare.to_owned())
}

/// The value of attribute `add-hosts`; `gateway` is the address of the daemon's machine.
///
/// # Errors
///
/// The gateway is asked for, and the text says why it is not known.
pub fn attribute(hosts: &[ExtraHost], gateway: &Result<String, String>) -> Result<String, ValueError> {
    let mut lines = Vec::new();
    for ExtraHost { host, target } in hosts {
        match target {
            HostTarget::Addresses(addresses) => {
                lines.extend(addresses.iter().map(|address| format!("{host}={address}")));
            }
            HostTarget::Gateway => {
                let address = gateway.as_ref().map_err(|why| {
                    ValueError::new(why).within("unable to derive the IP value for host-gateway")
                })?;
                lines.push(format!("{host}={address}"));
            }
        }
    }
    Ok(lines.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&str]) -> Result<String, String> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let hosts = parse(&values).map_err(|error| error.to_string())?;
        attribute(
            &hosts,
            &Err("host-gateway is not supported by the remote driver".into()),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn hosts_are_sent_as_pairs() {
        assert_eq!(
            sent(&["a:1.2.3.4,b=5.6.7.8", "c:::1", "d=[::2]"]).unwrap(),
            "a=1.2.3.4,b=5.6.7.8,c=::1,d=::2"
        );
        assert_eq!(sent(&["\"a=1.2.3.4,::1\""]).unwrap(), "a=1.2.3.4,a=::1");
        assert_eq!(sent(&[]).unwrap(), "");
    }

    #[test]
    fn bad_hosts_are_named() {
        for bad in ["a", "a:", ":1.2.3.4", "a:1.2.3", "a=[]", "a:b"] {
            assert_eq!(sent(&[bad]).unwrap_err(), format!("invalid host {bad}"));
        }
        assert_eq!(
            sent(&["a\"b"]).unwrap_err(),
            "invalid argument \"a\\\"b\" for \"--add-host\" flag: parse error on line 1, column 2: bare \" in non-quoted-field"
        );
    }

    #[test]
    fn an_unknown_gateway_is_an_error() {
        assert_eq!(
            sent(&["a:host-gateway"]).unwrap_err(),
            "unable to derive the IP value for host-gateway: host-gateway is not supported by the remote driver"
        );
        let hosts = parse(&["a:host-gateway".to_owned()]).unwrap();
        assert_eq!(
            attribute(&hosts, &Ok("172.17.0.1".into())).unwrap(),
            "a=172.17.0.1"
        );
    }
}
