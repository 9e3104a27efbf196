//! How many connections of each address are not let in yet, so that one address cannot take every place where
//! newcomers wait.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use chinwag_proto::limits;

/// Connections of one address that have not finished their Hello. One more is closed at once and counted. Half of all
/// such places: a crowd behind one address that comes all at once, as after a restart, is to find room.
pub const PENDING_PER_ADDRESS: usize = limits::PENDING_HELLOS / 2;

/// The same of those who are asked for a name. They take long to answer, and wait in places of their own.
pub(super) const NAMELESS_PER_ADDRESS: usize = limits::PENDING_NAMES / 2;

#[derive(Debug, Default)]
pub(super) struct Crowd(BTreeMap<IpAddr, usize>);

impl Crowd {
    /// True when so many from there are there.
    pub(super) fn has(&self, address: IpAddr, most: usize) -> bool {
        self.0.get(&origin(address)).is_some_and(|&count| count >= most)
    }

    /// True when nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn enter(&mut self, address: IpAddr) {
        *self.0.entry(origin(address)).or_default() += 1;
    }

    pub(super) fn leave(&mut self, address: IpAddr) {
        let origin = origin(address);
        if let Some(count) = self.0.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&origin);
            }
        }
    }
}

/// What counts as one address: an IPv6 network of 64 bits is one customer's as a rule, who has all addresses in it.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_full_at_its_limit_and_others_are_not() {
        let mut crowd = Crowd::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for n in 0..PENDING_PER_ADDRESS {
            assert!(!crowd.has(ip("2001:db8::1"), PENDING_PER_ADDRESS), "{n}");
            crowd.enter(ip(&format!("2001:db8::{n:x}")));
            crowd.enter(ip("::ffff:10.0.0.1"));
        }
        for (address, is_full) in [
            ("2001:db8::ffff:1", true),
            ("2001:db8:0:1::1", false),
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("10.0.0.2", false),
        ] {
            assert_eq!(crowd.has(ip(address), PENDING_PER_ADDRESS), is_full, "{address}");
        }
        for n in 0..PENDING_PER_ADDRESS {
            crowd.leave(ip(&format!("2001:db8::{n:x}")));
            crowd.leave(ip("10.0.0.1"));
        }
        assert!(crowd.is_empty());
        // One who was never there.
        crowd.leave(ip("10.0.0.1"));
    }
}
