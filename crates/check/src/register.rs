//! The smallest models: one register with compare-and-swap, and a register (or anything) a key.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use crate::model::{Model, Transition};

/// A register that holds a number, or nothing yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// What a [`Register`] can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterInput {
    /// What does it hold?
    Read,
    /// Hold this.
    Write(u64),
    /// Hold `new` if you hold `expected`.
    CompareAndSwap {
        /// What it must hold for the swap to happen; `None` is "nothing yet".
        expected: Option<u64>,
        /// What it holds after the swap.
        new: u64,
    },
}

/// What a [`Register`] can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterOutput {
    /// To a read: it holds this.
    Value(Option<u64>),
    /// To a write: done.
    Written,
    /// To a compare-and-swap: whether it held what was expected, and so was swapped.
    Swapped(bool),
}

impl Register {
    fn apply(held: Option<u64>, input: &RegisterInput) -> (Option<u64>, RegisterOutput) {
        match *input {
            RegisterInput::Read => (held, RegisterOutput::Value(held)),
            RegisterInput::Write(new) => (Some(new), RegisterOutput::Written),
            RegisterInput::CompareAndSwap { expected, new } if held == expected => {
                (Some(new), RegisterOutput::Swapped(true))
            }
            RegisterInput::CompareAndSwap { .. } => (held, RegisterOutput::Swapped(false)),
        }
    }
}

impl Model for Register {
    type Input = RegisterInput;
    type Output = RegisterOutput;
    type State = Option<u64>;
    type Key = ();

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(
        &self,
        held: &Option<u64>,
        input: &RegisterInput,
        output: Option<&RegisterOutput>,
    ) -> Transition<Option<u64>> {
        let (next, answer) = Self::apply(*held, input);
        match output {
            Some(output) if *output != answer => Transition::Impossible,
            _ if next == *held => Transition::Unchanged,
            _ => Transition::To(next),
        }
    }

    fn is_read(&self, input: &RegisterInput, output: Option<&RegisterOutput>) -> bool {
        *input == RegisterInput::Read || output == Some(&RegisterOutput::Swapped(false))
    }

    fn answer(&self, held: &Option<u64>, input: &RegisterInput) -> Option<RegisterOutput> {
        Some(Self::apply(*held, input).1)
    }
}

/// One independent `M` a key: an input is a key and an input of `M`. Histories of it are split by
/// key, which turns one long search into many short ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerKey<K, M> {
    model: M,
    keys: PhantomData<K>,
}

impl<K, M> PerKey<K, M> {
    /// A `model` for each key.
    pub fn new(model: M) -> Self {
        Self { model, keys: PhantomData }
    }
}

impl<K, M> Model for PerKey<K, M>
where
    K: Clone + Ord + Hash + Debug,
    M: Model,
{
    type Input = (K, M::Input);
    type Output = M::Output;
    type State = BTreeMap<K, M::State>;
    type Key = K;

    fn initial(&self) -> BTreeMap<K, M::State> {
        BTreeMap::new()
    }

    fn step(
        &self,
        state: &BTreeMap<K, M::State>,
        (key, input): &(K, M::Input),
        output: Option<&M::Output>,
    ) -> Transition<BTreeMap<K, M::State>> {
        let stepped = match state.get(key) {
            Some(inner) => self.model.step(inner, input, output),
            None => self.model.step(&self.model.initial(), input, output),
        };
        match stepped {
            Transition::Impossible => Transition::Impossible,
            Transition::Unchanged => Transition::Unchanged,
            Transition::To(inner) => {
                let mut next = state.clone();
                next.insert(key.clone(), inner);
                Transition::To(next)
            }
        }
    }

    fn is_read(&self, (_, input): &(K, M::Input), output: Option<&M::Output>) -> bool {
        self.model.is_read(input, output)
    }

    fn partition(&self, (key, _): &(K, M::Input)) -> Option<K> {
        Some(key.clone())
    }

    fn answer(
        &self,
        state: &BTreeMap<K, M::State>,
        (key, input): &(K, M::Input),
    ) -> Option<M::Output> {
        match state.get(key) {
            Some(inner) => self.model.answer(inner, input),
            None => self.model.answer(&self.model.initial(), input),
        }
    }
}
