//! The rules by name, so that the model test can leave out each in turn and see that it is caught. Outside tests every
//! rule is kept and the question costs nothing.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A record below W is unfinished if its narrowest entry covers it.
    BelowTheWatermark,
    /// W passes what is covered.
    PassCovered,
    /// The window persists done bits only, never covered ones.
    #[cfg(test)]
    PersistDone,
    /// Of an ordered lane only the head is in flight.
    HeadOnly,
    /// `from` passes done records only.
    FromPassesDone,
    /// No release while a record of the lane waits.
    LookBeforeRelease,
    /// No release before the reader has passed every `from` that its integration had at load.
    ReaderBeforeRelease,
    /// The narrowest entry decides alone.
    NarrowestDecides,
    /// A head that ends without success holds its key until that is committed.
    DeadFirst,
    /// A record of a narrower lane that ends enters `done[]` of the held integration.
    DoneOfChild,
    /// A done bit that the main reader passes enters `done[]` of the held integration.
    DoneWhenPassed,
    /// An integration that becomes held takes its done bits above `from` into `done[]`.
    DoneWhenHeld,
    /// A key lane stays until the `from` of its held integration has passed it.
    StayBehind,
    /// A tombstone takes the written `from` of the held integration with it.
    Together,
    /// The reader of a held integration feeds its key lanes too.
    OneFeeder,
    /// DISABLED, BREAKER and RATE_LIMITED hold the narrower lanes too.
    GateHoldsAll,
    /// Any waiting record of the integration can be the probe.
    AnyProbe,
    /// Key lanes with nothing to send do not count as waiting.
    IdleIsFree,
    /// `done[]` full: the record at `from` becomes a lane of its own.
    SpinOff,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    #[cfg(test)]
    pub left_out: Option<Rule>,
}

impl Rules {
    #[cfg(test)]
    pub fn keep(self, rule: Rule) -> bool {
        self.left_out != Some(rule)
    }

    #[cfg(not(test))]
    pub const fn keep(self, _rule: Rule) -> bool {
        true
    }
}
