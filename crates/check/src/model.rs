//! What a checker needs to know of a store: how it would behave doing one thing at a time.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;

/// What one operation does to one state of a [`Model`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition<S> {
    /// The store would not have given this output in this state.
    Impossible,
    /// Allowed, and the state stays what it is.
    Unchanged,
    /// Allowed, and the state is this one afterwards.
    To(S),
}

/// A store that does one operation at a time.
///
/// The state and the step have to be deterministic: one state, one input and one output lead to
/// one next state.
pub trait Model {
    /// What a client can ask. Two operations with equal inputs must be interchangeable.
    type Input: Debug + Clone + PartialEq;
    /// What a client can be told.
    type Output: Debug;
    /// All that later answers may depend on.
    type State: Clone + Eq + Hash + Debug;
    /// What a history may be split by; `()` for a model that cannot be split.
    type Key: Ord;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// What `input` does in `state` if it was answered with `output`, or, where the output is
    /// `None`, if nobody knows what it was answered.
    ///
    /// The sooner an impossible output is turned away, the faster the search: compare what is
    /// cheap to compare before computing the next state.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Transition<Self::State>;

    /// Whether `input`, answered with `output`, leaves *every* state that allows it as it is: a
    /// read, a compare-and-swap that failed. With `None` it is asked of an operation whose answer
    /// is unknown. Saying `false` is always safe; saying `true` wrongly makes the verdict wrong.
    fn is_read(&self, _input: &Self::Input, _output: Option<&Self::Output>) -> bool {
        false
    }

    /// What `input` comes to where nobody sees its answer: an input that does the same in every
    /// state, as far as any answer in the history can tell. The more inputs come to one, the
    /// faster the search.
    fn unseen<'i>(&self, input: &'i Self::Input) -> Cow<'i, Self::Input> {
        Cow::Borrowed(input)
    }

    /// A state that stands for `state`: every order of the rest of the history that one of them
    /// allows, the other allows too. The more states one stands for, the faster the search.
    fn essence(&self, state: &Rc<Self::State>) -> Rc<Self::State> {
        Rc::clone(state)
    }

    /// How many more operations of unknown outcome can change something after `state`, at most,
    /// if that is known: in any order of the history that has come to this state.
    fn unknown_changes_left(&self, _state: &Self::State) -> Option<u64> {
        None
    }

    /// The one key that `input` touches. When every operation of a history has one, each key's
    /// operations are checked alone, starting from [`initial`](Self::initial): linearizability is
    /// local (Herlihy and Wing, 1990, section 3.3). `None` keeps the history in one piece.
    fn partition(&self, _input: &Self::Input) -> Option<Self::Key> {
        None
    }

    /// What the store would have answered to `input` in `state`. Counterexamples show it beside
    /// what was answered; `None` leaves it out.
    fn answer(&self, _state: &Self::State, _input: &Self::Input) -> Option<Self::Output> {
        None
    }
}
