//! Which channels are asked.
//!
//! A set small enough to be copied with the settings. It holds names, not channels, so that a name may be known before its
//! channel gives fields; a channel whose name is not known here can only be asked, never switched off.

use std::fmt;

/// A set of channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Selection(u16);

impl Selection {
    /// Every name there is, in the order of verdicts.
    pub const NAMES: [&'static str; 8] =
        ["density", "text", "meaning", "joint", "nearest", "numeric", "categorical", "series"];
    /// All of them.
    pub const ALL: Self = Self((1 << Self::NAMES.len()) - 1);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// The channel of that name alone; none when there is no such name.
    pub fn only(name: &str) -> Option<Self> {
        let place = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self(1 << place))
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These but for those.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether a channel is to be asked.
    pub fn includes(self, name: &str) -> bool {
        Self::only(name).is_none_or(|channel| self.0 & channel.0 != 0)
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

// The configuration's digest is made of this: names, so that it does not change with the order of bits.
impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Self::NAMES.iter().filter(|name| self.includes(name))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_the_set_of_its_names() {
        for name in Selection::NAMES {
            let only = Selection::only(name).expect("it is known");
            assert!(only.includes(name) && !Selection::ALL.without(only).includes(name));
            let others = Selection::NAMES.iter().filter(|other| **other != name);
            assert!(others.clone().all(|other| !only.includes(other)));
            assert_eq!(Selection::ALL.without(only).and(only), Selection::ALL);
        }
        assert_eq!(Selection::only("smell"), None);
        assert!(Selection::NONE.includes("smell") && Selection::NONE.is_empty());
        let two = Selection::NONE.and(Selection::only("text").unwrap_or(Selection::NONE));
        assert_eq!(format!("{two:?}"), "{\"text\"}");
    }
}
