//! Who is alive.

mod heartbeat;
mod watch;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[&Shelf::<heartbeat::Heartbeats>::NEW];
