//! One node: configuration, listeners, lifecycle
