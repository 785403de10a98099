// SPDX-License-Identifier: GPL-2.0
//! A list in an array that gets new elements at its front while others read it.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    ops::Deref,
    ptr, slice,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};
use kernel::{alloc::AllocError, prelude::*};

/// Elements fill an array from its end on. Who reads has a slice of those that there were, which
/// stay as they are: what is added goes before them. Up to `N` elements need no memory of their own.
///
/// # Invariants
///
/// The array has room for `room` elements: it is `inside` if these are `N`, else `outside` is its
/// start, of memory of a vector with this capacity. Its last `len` elements are initialized and not
/// changed any more; the others are only used by who turned `adding` from false to true.
pub struct FrontVec<T, const N: usize> {
    inside: UnsafeCell<[MaybeUninit<T>; N]>,
    outside: *mut T,
    room: usize,
    len: AtomicUsize,
    adding: AtomicBool,
}

// SAFETY: It owns its elements.
unsafe impl<T: Send, const N: usize> Send for FrontVec<T, N> {}
// SAFETY: Elements are shared by reference, and taken from whoever adds them.
unsafe impl<T: Send + Sync, const N: usize> Sync for FrontVec<T, N> {}

impl<T, const N: usize> FrontVec<T, N> {
    /// Without elements, with room for `N`.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        // INVARIANT: Nothing is in it.
        Self {
            inside: UnsafeCell::new([const { MaybeUninit::uninit() }; N]),
            outside: ptr::null_mut(),
            room: N,
            len: AtomicUsize::new(0),
            adding: AtomicBool::new(false),
        }
    }

    /// Without elements, with room for so many, or `N`. Sleeps.
    fn with_room(room: usize) -> Result<Self, AllocError> {
        let mut this = Self::new();
        if room > N {
            // INVARIANT: The vector's memory, with nothing in it.
            (this.outside, _, this.room) = KVec::with_capacity(room, GFP_KERNEL)?.into_raw_parts();
        }
        Ok(this)
    }

    /// The end of the array.
    #[inline]
    fn end(&self) -> *mut T {
        let start = if self.room == N {
            self.inside.get().cast()
        } else {
            self.outside
        };
        start.wrapping_add(self.room)
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.len.load(Ordering::Relaxed) < self.room
    }

    /// Puts `value` first.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no room, `EBUSY` if it is added to by another.
    pub fn push(&self, value: T) -> Result {
        if self.adding.swap(true, Ordering::Acquire) {
            return Err(EBUSY);
        }
        let len = self.len.load(Ordering::Relaxed);
        let free = len < self.room;
        if free {
            let at = self.end().wrapping_sub(len).wrapping_sub(1);
            // SAFETY: It is in the array, as there is room, and by the type's invariant nobody else
            // uses it.
            unsafe { at.write(value) };
            // INVARIANT: Just initialized.
            self.len.store(len.wrapping_add(1), Ordering::Release);
        }
        self.adding.store(false, Ordering::Release);
        free.then_some(()).ok_or(ENOMEM)
    }
}

impl<T: Clone, const N: usize> FrontVec<T, N> {
    /// A copy, without the element at `without`, that has room for `more`. Sleeps.
    pub fn copy(&self, without: Option<usize>, more: usize) -> Result<Self, AllocError> {
        let all = &**self;
        let (before, after) = match without.and_then(|i| all.split_at_checked(i)) {
            Some((before, after)) => (before, after.get(1..).unwrap_or(&[])),
            None => (all, &[][..]),
        };
        let len = before.len().saturating_add(after.len());
        let mut copy = Self::with_room(len.saturating_add(more))?;
        let mut at = copy.end();
        for part in [after, before] {
            for value in part.iter().rev() {
                at = at.wrapping_sub(1);
                // SAFETY: There is room for `len` elements before the end, and nobody else has the
                // array yet.
                unsafe { at.write(value.clone()) };
            }
        }
        // INVARIANT: That many are initialized.
        *copy.len.get_mut() = len;
        Ok(copy)
    }
}

impl<T, const N: usize> Deref for FrontVec<T, N> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        let len = self.len.load(Ordering::Acquire);
        // SAFETY: By the type's invariant the last `len` elements are there and stay.
        unsafe { slice::from_raw_parts(self.end().wrapping_sub(len), len) }
    }
}

impl<T, const N: usize> Drop for FrontVec<T, N> {
    fn drop(&mut self) {
        let values: *const [T] = &raw const **self;
        // SAFETY: By the type's invariant they are initialized; nobody uses them any more.
        unsafe { ptr::drop_in_place(values.cast_mut()) };
        if self.room != N {
            // SAFETY: By the type's invariant; nothing is in it any more.
            drop(unsafe { KVec::from_raw_parts(self.outside, 0, self.room) });
        }
    }
}
