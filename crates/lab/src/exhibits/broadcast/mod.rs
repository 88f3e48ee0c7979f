//! Who hears what, and in what order.

use crate::row::Row;

pub(crate) const ROWS: &[&dyn Row] = &[];
