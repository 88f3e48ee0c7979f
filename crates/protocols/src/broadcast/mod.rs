//! Who hears what, and in what order.
