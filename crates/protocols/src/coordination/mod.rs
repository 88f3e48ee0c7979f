//! Who may act.
