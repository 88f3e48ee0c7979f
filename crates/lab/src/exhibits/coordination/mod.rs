//! Who may act.

mod bully;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[&Shelf::<bully::Bully>::NEW];
