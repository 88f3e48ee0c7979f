//! Who is alive.

mod heartbeat;
mod phi_accrual;
mod swim;
mod watch;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<heartbeat::Heartbeats>::NEW,
    &Shelf::<phi_accrual::Phi>::NEW,
    &Shelf::<swim::Swim>::NEW,
];
