//! Ports that nobody else takes while a node of ours is down.
//!
//! The naive version binds port 0, notes the number, and lets the port go. It works until a node is killed under load:
//! the system hands out the same range to outgoing connections, one of the load's own clients gets the dead node's port,
//! and the node cannot come back. So ports are taken from below that range, and each is *claimed*: for as long as a
//! cluster lives, its test holds the UDP port of the same number, which no node uses and which the system gives to one
//! process only. A test that dies gives up its claims by dying.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::TortureError;

/// Below the range that Linux takes the ports of outgoing connections from.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// A port that no other cluster of ours has, for as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) port: u16,
    _held: UdpSocket,
}

/// Claims a port on which nobody listens.
pub(super) fn claim() -> Result<Claim, TortureError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests that run side by side begin in different places, and so seldom try what another has.
    let start = (std::process::id().wrapping_mul(997) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        let Ok(_held) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
        // Somebody who knows nothing of our claims may be listening.
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(Claim { port, _held });
        }
    }
    Err(TortureError::NoPorts { from: FIRST, to: FIRST + COUNT - 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_claimed_twice_nor_while_somebody_listens_there() {
        let claims: Vec<Claim> = (0..20).map(|_| claim().expect("ports are free")).collect();
        let mut ports: Vec<u16> = claims.iter().map(|claim| claim.port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
        for port in ports {
            let second = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
            assert!(second.is_err(), "the claim on {port} keeps nobody out");
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            assert!(listener.is_ok(), "a node could not take {port}");
        }
    }
}
