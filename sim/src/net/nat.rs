//! The NAT in front of one client: which address its datagrams come from, and whether one to that address gets back.

use std::net::SocketAddr;

use chinwag_proto::Rng;

use crate::random::between;

/// Ports that mappings get.
const PORTS: (u64, u64) = (1_024, 65_535);

/// One client's mapping.
#[derive(Debug)]
pub(crate) struct Nat {
    link: u32,
    rng: Rng,
    port: u16,
    /// When a datagram passed last.
    used_us: u64,
}

impl Nat {
    pub(crate) fn new(link: u32, mut rng: Rng) -> Self {
        let port = draw(&mut rng);
        Self { link, rng, port, used_us: 0 }
    }

    /// The link whose mappings have this address.
    pub(crate) fn link_of(address: SocketAddr) -> Option<u32> {
        let SocketAddr::V4(address) = address else { return None };
        let [network, high, middle, low] = address.ip().octets();
        (network == 10).then(|| u32::from_be_bytes([0, high, middle, low]))
    }

    fn address(&self) -> SocketAddr {
        let [_, high, middle, low] = self.link.to_be_bytes();
        SocketAddr::from(([10, high, middle, low], self.port))
    }

    /// Where a datagram comes from that leaves now; a mapping idle for longer than `expire_us` (0: never) is a new one.
    pub(crate) fn outward(&mut self, now_us: u64, expire_us: u64) -> SocketAddr {
        if self.is_expired(now_us, expire_us) {
            self.rebind();
        }
        self.used_us = now_us;
        self.address()
    }

    /// Whether a datagram to `address` gets in now.
    pub(crate) fn inward(&mut self, address: SocketAddr, now_us: u64, expire_us: u64) -> bool {
        let passes = address == self.address() && !self.is_expired(now_us, expire_us);
        if passes {
            self.used_us = now_us;
        }
        passes
    }

    /// The mapping is another one from now on.
    pub(crate) fn rebind(&mut self) {
        self.port = draw(&mut self.rng);
    }

    fn is_expired(&self, now_us: u64, expire_us: u64) -> bool {
        expire_us > 0 && now_us.saturating_sub(self.used_us) > expire_us
    }
}

fn draw(rng: &mut Rng) -> u16 {
    u16::try_from(between(rng, PORTS.0, PORTS.1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_that_is_mapped_now_leads_in() {
        let mut nat = Nat::new(300, Rng::from_number(1));
        let first = nat.outward(0, 5);
        assert_eq!(Nat::link_of(first), Some(300));
        assert!(nat.inward(first, 5, 5));
        assert!(nat.inward(first, 10, 5), "used again in time");
        assert!(!nat.inward(first, 16, 5), "idle for too long");
        let second = nat.outward(16, 5);
        assert_ne!(first, second);
        assert!(!nat.inward(first, 16, 5) && nat.inward(second, 16, 5));
        nat.rebind();
        assert!(!nat.inward(second, 17, 5));
        let third = nat.outward(17, 0);
        assert!(nat.inward(third, u64::MAX, 0), "a mapping that never expires");
    }
}
