//! How messages and records of the catalogue look in JSON: a list, its first item the name of the variant if there are several.
//!
//! The protocols themselves say nothing of how they travel, and need no dependency for it: what is said here of a type is the
//! list of its fields, from which writing and reading both follow. Raft is the exception, since production has a codec for it.

use std::collections::BTreeMap;

use quorate_core::NodeId;
use serde_json::Value;

/// What can be written as JSON, and read back.
pub(crate) trait Wire: Sized {
    fn to_json(&self) -> Value;
    /// Reads what another node, or an earlier run, has written; none if it makes no sense.
    fn of_json(value: &Value) -> Option<Self>;
}

impl Wire for u64 {
    fn to_json(&self) -> Value {
        (*self).into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl Wire for NodeId {
    fn to_json(&self) -> Value {
        self.0.into()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_u64().map(NodeId)
    }
}

impl Wire for Value {
    fn to_json(&self) -> Value {
        self.clone()
    }

    fn of_json(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }

    fn of_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::of_json).collect()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }

    fn of_json(value: &Value) -> Option<Self> {
        match value.as_array()?.as_slice() {
            [] => Some(None),
            [one] => Some(Some(T::of_json(one)?)),
            _ => None,
        }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn to_json(&self) -> Value {
        Value::Array(vec![self.0.to_json(), self.1.to_json()])
    }

    fn of_json(value: &Value) -> Option<Self> {
        match value.as_array()?.as_slice() {
            [a, b] => Some((A::of_json(a)?, B::of_json(b)?)),
            _ => None,
        }
    }
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn to_json(&self) -> Value {
        self.iter().map(|(key, value)| Value::Array(vec![key.to_json(), value.to_json()])).collect()
    }

    fn of_json(value: &Value) -> Option<Self> {
        Some(Vec::<(K, V)>::of_json(value)?.into_iter().collect())
    }
}

/// Says of a structure which fields it has.
macro_rules! wire_struct {
    ($type:ty $(where $generic:ident)? { $($field:ident),+ }) => {
        impl $(<$generic: Wire>)? Wire for $type {
            fn to_json(&self) -> Value {
                let Self { $($field),+ } = self;
                Value::Array(vec![$($field.to_json()),+])
            }

            fn of_json(value: &Value) -> Option<Self> {
                let mut fields = value.as_array()?.iter();
                $(let $field = Wire::of_json(fields.next()?)?;)+
                fields.next().is_none().then_some(Self { $($field),+ })
            }
        }
    };
}

/// As [`wire_struct`], for fields that have no names; a single one is not put into a list.
macro_rules! wire_tuple {
    ($type:ty { $field:ident }) => {
        impl Wire for $type {
            fn to_json(&self) -> Value {
                let Self($field) = self;
                $field.to_json()
            }

            fn of_json(value: &Value) -> Option<Self> {
                Wire::of_json(value).map(Self)
            }
        }
    };
    ($type:ty { $($field:ident),+ }) => {
        impl Wire for $type {
            fn to_json(&self) -> Value {
                let Self($($field),+) = self;
                Value::Array(vec![$($field.to_json()),+])
            }

            fn of_json(value: &Value) -> Option<Self> {
                let mut fields = value.as_array()?.iter();
                $(let $field = Wire::of_json(fields.next()?)?;)+
                fields.next().is_none().then_some(Self($($field),+))
            }
        }
    };
}

/// Says of an enumeration which variants it has, and how many fields each.
macro_rules! wire_enum {
    ($type:ty $(where $generic:ident)? { $($variant:ident $(($($field:ident),+))?),+ $(,)? }) => {
        impl $(<$generic: Wire>)? Wire for $type {
            fn to_json(&self) -> Value {
                match self {
                    $(Self::$variant $(($($field),+))? => {
                        Value::Array(vec![stringify!($variant).into() $($(, $field.to_json())+)?])
                    })+
                }
            }

            fn of_json(value: &Value) -> Option<Self> {
                let (name, fields) = value.as_array()?.split_first()?;
                let mut fields = fields.iter();
                let read = match name.as_str()? {
                    $(stringify!($variant) => {
                        $($(let $field = Wire::of_json(fields.next()?)?;)+)?
                        Self::$variant $(($($field),+))?
                    })+
                    _ => return None,
                };
                fields.next().is_none().then_some(read)
            }
        }
    };
}

pub(crate) use {wire_enum, wire_struct, wire_tuple};

#[cfg(test)]
mod tests {
    use quorate_protocols::consensus::multi_paxos::{Ballot, Command, Message, Slot};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_is_what_was_written_and_anything_else_is_nothing() {
        let ballot = Ballot { round: 3, of: NodeId(2) };
        let accepted = BTreeMap::from([(Slot(1), (ballot, Command(7)))]);
        for (message, written) in [
            (Message::P1a(ballot), json!(["P1a", [3, 2]])),
            (Message::P1b(ballot, accepted), json!(["P1b", [3, 2], [[1, [[3, 2], 7]]]])),
            (Message::Learn(Slot(4)), json!(["Learn", 4])),
        ] {
            assert_eq!(message.to_json(), written);
            assert_eq!(Message::of_json(&written), Some(message));
        }
        for wrong in [
            json!(["P1a"]),
            json!(["P1a", [3, 2], 1]),
            json!(["P1a", [3]]),
            json!(["P9", 1]),
            json!(["Learn", "x"]),
            json!([]),
            json!(7),
        ] {
            assert_eq!(Message::of_json(&wrong), None, "{wrong}");
        }
    }
}
