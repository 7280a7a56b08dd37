//! A part that most sessions do not need most of the time: no memory before it is first changed.

use std::ops::{Deref, DerefMut};

/// What a part is before it is changed.
pub(super) trait Blank: Sized + 'static {
    /// Such a part.
    const BLANK: Self;
    /// The same, to be looked at.
    const SHOWN: &'static Self;

    /// Whether it holds nothing that has to be kept.
    fn is_blank(&self) -> bool;
}

/// See the [module](self). To look at it costs a comparison, to change it allocates it.
#[derive(Debug)]
pub(super) struct OnDemand<T>(Option<Box<T>>);

impl<T> Default for OnDemand<T> {
    fn default() -> OnDemand<T> {
        OnDemand::new()
    }
}

impl<T> OnDemand<T> {
    pub(super) const fn new() -> OnDemand<T> {
        OnDemand(None)
    }

    /// The part, if it has ever been changed.
    pub(super) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// Forgets it, and gives its memory back.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl<T: Blank> OnDemand<T> {
    /// Gives its memory back if it holds nothing.
    pub(super) fn shrink(&mut self) {
        if self.0.as_ref().is_some_and(|part| part.is_blank()) {
            self.0 = None;
        }
    }
}

impl<T: Blank> Deref for OnDemand<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.0 {
            Some(part) => part,
            None => T::SHOWN,
        }
    }
}

impl<T: Blank> DerefMut for OnDemand<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::BLANK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Part(u8);

    impl Blank for Part {
        const BLANK: Part = Part(7);
        const SHOWN: &'static Part = &Part(7);

        fn is_blank(&self) -> bool {
            self.0 == 7
        }
    }

    #[test]
    fn what_is_only_looked_at_is_not_allocated() {
        let mut part: OnDemand<Part> = OnDemand::new();
        assert_eq!(*part, Part(7));
        assert_eq!(part.get_mut(), None);
        *part = Part(8);
        assert_eq!(part.get_mut(), Some(&mut Part(8)));
        part.shrink();
        assert_eq!(part.get_mut(), Some(&mut Part(8)), "it holds something");
        part.clear();
        assert_eq!(*part, Part(7));
        assert_eq!(part.get_mut(), None);
    }
}
