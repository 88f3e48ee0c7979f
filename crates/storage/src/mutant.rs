//! Deliberate bugs, for tests of the tests.

/// Deliberate bugs, each of which a test has to catch.
#[cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "only tests name it"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Recovery cuts one valid record too many when it meets a torn tail.
    LosesTail,
    /// `sync` answers without having synced.
    SkipsSync,
    /// Recovery takes rot in the middle of the log for a torn tail, and cuts it off.
    CutsRot,
    /// A segment's new name is not made durable.
    ForgetsDirectory,
    /// `sync` answers although there was no room for the batch.
    IgnoresFull,
    /// A segment that is missing behind the last one is not missed.
    MissesNothing,
    /// A log is moved away before the mark is durable that memory is lost.
    MovesBeforeMark,
    /// The mark that memory is lost is taken away once the log was moved.
    ClearsMarkEarly,
    /// A directory gets its identity before what is restored into it is there.
    IdentityBeforeRestored,
}
