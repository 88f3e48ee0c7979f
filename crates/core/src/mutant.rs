//! The switch for mutants: named, deliberate bugs that the checks must catch.
//!
//! A protocol asks `config.mutants.has("counts_older_term")` at the very line that the bug would spoil. Without the
//! feature `mutants`, which only tests turn on, the answer is a constant `false`, the branch is compiled away, and
//! there is no value of [`Mutants`] but the healthy one.

/// Which deliberate bug is switched on, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mutants {
    #[cfg(feature = "mutants")]
    active: Option<&'static str>,
}

impl Mutants {
    /// No bug but those we don't know of.
    pub const NONE: Mutants = Mutants {
        #[cfg(feature = "mutants")]
        active: None,
    };

    /// Switches one bug on.
    #[cfg(feature = "mutants")]
    pub const fn only(name: &'static str) -> Self {
        Mutants { active: Some(name) }
    }

    /// Whether the named bug is on.
    #[inline(always)]
    pub fn has(self, name: &str) -> bool {
        #[cfg(feature = "mutants")]
        return self.active == Some(name);
        #[cfg(not(feature = "mutants"))]
        {
            let _ = name;
            false
        }
    }
}

/// As [`Mutants`], of a protocol that only the lab runs: always compiled in, so that a reader can switch a bug on and watch
/// it being caught. What production runs asks [`Mutants`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabMutants {
    active: Option<&'static str>,
}

impl LabMutants {
    /// No bug but those we don't know of.
    pub const NONE: LabMutants = LabMutants { active: None };

    /// Switches one bug on.
    pub const fn only(name: &'static str) -> Self {
        LabMutants { active: Some(name) }
    }

    /// Whether the named bug is on.
    #[inline]
    pub fn has(self, name: &str) -> bool {
        self.active == Some(name)
    }
}
