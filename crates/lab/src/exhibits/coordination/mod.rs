//! Who may act.

use crate::row::Row;

pub(crate) const ROWS: &[&dyn Row] = &[];
