// SPDX-License-Identifier: GPL-2.0
//! Files in `/proc/net`, made anew for each reader.
//!
//! C headers: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use crate::{
    net::Net,
    pernet::{self, PerNet},
    raw,
    raw::helpers,
    rcu::{Arc, Rcu},
};
use core::{
    fmt,
    marker::PhantomData,
    ptr::{self, NonNull},
};
use kernel::{error::from_result, prelude::*};

/// A file that is written in one go. Its whole text is kept in memory while it is read.
pub trait Show: 'static {
    /// Whose state it shows.
    type Ns: PerNet;

    /// Writes all of it. Process context, may sleep. Called again when the text was longer than
    /// expected.
    fn show(state: &Arc<<Self::Ns as PerNet>::State>, net: &Net, out: &mut Writer<'_>) -> Result;
}

/// A file of many records, written bit by bit while it is read.
pub trait Walk: 'static {
    /// Whose state it shows.
    type Ns: PerNet;

    /// Writes what comes before the records.
    fn header(state: &<Self::Ns as PerNet>::State, rcu: Rcu<'_>, out: &mut Writer<'_>);

    /// Writes the records at `cursor`, which is 0 at the beginning; there may be none. Gives the
    /// next cursor, if that was not the last. Must not take long: one hash bucket at a time.
    ///
    /// Called again with the same cursor when the text did not fit.
    fn step(
        state: &<Self::Ns as PerNet>::State,
        rcu: Rcu<'_>,
        cursor: u64,
        out: &mut Writer<'_>,
    ) -> Option<u64>;
}

/// A file of a namespace, until dropped. Dropping waits for readers.
///
/// # Invariants
///
/// `entry` is a file below `/proc/net` of a namespace that exists for `'n`.
pub struct File<'n> {
    entry: NonNull<raw::proc_dir_entry>,
    _p: PhantomData<&'n Net>,
}

// SAFETY: Files can be removed from everywhere.
unsafe impl Send for File<'_> {}
// SAFETY: No methods.
unsafe impl Sync for File<'_> {}

impl<'n> File<'n> {
    /// Makes a file. `mode` 0 is for readable by all.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if there is a file of that name.
    pub fn single<S: Show>(net: &'n Net, name: &CStr, mode: u16) -> Result<Self> {
        // SAFETY: The namespace is valid.
        let parent = unsafe { (*net.as_ptr()).proc_net };
        // SAFETY: The name is copied; the callback expects the file to be as it is made here.
        let entry = unsafe {
            raw::proc_create_net_single(
                name.as_char_ptr(),
                mode,
                parent,
                Some(show_single::<S>),
                ptr::null_mut(),
            )
        };
        Self::new(entry)
    }

    /// Makes a file, see [`Self::single`].
    pub fn walk<W: Walk>(net: &'n Net, name: &CStr, mode: u16) -> Result<Self> {
        // SAFETY: The namespace is valid.
        let parent = unsafe { (*net.as_ptr()).proc_net };
        // SAFETY: The name is copied; the callbacks expect the file to be as it is made here.
        let entry = unsafe {
            raw::proc_create_net_data(
                name.as_char_ptr(),
                mode,
                parent,
                &Walker::<W>::OPS,
                size_of::<Place>() as c_uint,
                ptr::null_mut(),
            )
        };
        Self::new(entry)
    }

    fn new(entry: *mut raw::proc_dir_entry) -> Result<Self> {
        // INVARIANT: Just made, in a namespace that is borrowed for `'n`.
        Ok(Self {
            entry: NonNull::new(entry).ok_or(ENOMEM)?,
            _p: PhantomData,
        })
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        // SAFETY: It exists, by the type's invariant.
        unsafe { raw::proc_remove(self.entry.as_ptr()) };
    }
}

/// # Safety
///
/// Called by seq_file for a file made by `File::single`.
unsafe extern "C" fn show_single<S: Show>(m: *mut raw::seq_file, _v: *mut c_void) -> c_int {
    // SAFETY: Valid during the call.
    let net = unsafe { (*m).private };
    // SAFETY: The open file keeps its namespace, and has it there.
    let net = unsafe { Net::from_raw(net.cast()) };
    let Some(state) = pernet::get::<S::Ns>(net) else {
        return 0;
    };
    // SAFETY: Valid, and ours during the call.
    let mut out = unsafe { Writer::new(m) };
    let done = S::show(&state, net, &mut out);
    if out.is_full() {
        // It is called again with more room, whatever it made of not having enough.
        return 0;
    }
    from_result(|| done.map(|()| 0))
}

/// Where a reader of a [`Walk`] is. Zeroed when the file is opened.
#[repr(C)]
struct Place {
    /// Set by the kernel.
    net: raw::seq_net_private,
    /// What seq_file calls the position: 0 is the header, and each that follows is what one call
    /// of `show` writes.
    pos: raw::loff_t,
    /// The cursor of `pos`.
    cursor: u64,
    /// The cursor of `pos + 1`, known when `pos` is shown.
    next: u64,
    /// Whether there is something at `pos + 1`.
    more: bool,
    /// Whether nothing is at `pos`.
    end: bool,
}

impl Place {
    fn set_next(&mut self, next: Option<u64>) {
        self.next = next.unwrap_or(0);
        self.more = next.is_some();
    }
}

/// Number of empty steps after which others may run.
const STEPS: u32 = 128;

struct Walker<W: Walk>(PhantomData<W>);

impl<W: Walk> Walker<W> {
    const OPS: raw::seq_operations = raw::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// # Safety
    ///
    /// As for `show`.
    unsafe fn place<'a>(m: *mut raw::seq_file) -> &'a mut Place {
        // SAFETY: By the requirement.
        let place = unsafe { (*m).private };
        // SAFETY: Made by the kernel at open with this size and all zeroes, which is valid. Calls
        // for one open file exclude each other.
        unsafe { &mut *place.cast::<Place>() }
    }

    /// # Safety
    ///
    /// As for `show`.
    unsafe extern "C" fn start(m: *mut raw::seq_file, pos: *mut raw::loff_t) -> *mut c_void {
        // SAFETY: Can be called in every context.
        unsafe { raw::rcu_read_lock() };
        // SAFETY: By the requirement.
        let place = unsafe { Self::place(m) };
        // SAFETY: Valid during the call.
        let pos = unsafe { *pos };
        if pos == 0 {
            place.pos = 0;
            place.end = false;
        }
        // seq_file goes on where it was, or starts again: there is nothing else it could want.
        if place.pos != pos || place.end {
            return ptr::null_mut();
        }
        m.cast()
    }

    /// # Safety
    ///
    /// As for `show`.
    unsafe extern "C" fn next(
        m: *mut raw::seq_file,
        _v: *mut c_void,
        pos: *mut raw::loff_t,
    ) -> *mut c_void {
        // SAFETY: By the requirement.
        let place = unsafe { Self::place(m) };
        place.pos = place.pos.wrapping_add(1);
        // SAFETY: Valid during the call.
        unsafe { *pos = place.pos };
        place.cursor = place.next;
        place.end = !place.more;
        if place.end {
            return ptr::null_mut();
        }
        m.cast()
    }

    /// # Safety
    ///
    /// As for `show`.
    unsafe extern "C" fn stop(_m: *mut raw::seq_file, _v: *mut c_void) {
        // SAFETY: `start` took the lock.
        unsafe { raw::rcu_read_unlock() };
    }

    /// Writes the next records there are: steps that write nothing count for nothing.
    ///
    /// # Safety
    ///
    /// Called by seq_file for a file made by `File::walk`.
    unsafe extern "C" fn show(m: *mut raw::seq_file, _v: *mut c_void) -> c_int {
        // SAFETY: By the requirement.
        let place = unsafe { Self::place(m) };
        // SAFETY: The open file keeps its namespace.
        let net = unsafe { Net::from_raw(place.net.net) };
        // SAFETY: Valid, and ours during the call.
        let mut out = unsafe { Writer::new(m) };
        let begin = out.count();
        place.set_next(None);
        loop {
            for _ in 0..STEPS {
                // SAFETY: `start` took the lock, and it is given up only below.
                let rcu = unsafe { Rcu::assume() };
                let Some(state) = pernet::of::<W::Ns>(net, rcu) else {
                    return 0;
                };
                if place.pos == 0 {
                    W::header(state.value(), rcu, &mut out);
                    place.set_next(Some(0));
                    return 0;
                }
                let next = W::step(state.value(), rcu, place.cursor, &mut out);
                place.set_next(next);
                if out.count() != begin || !place.more {
                    return 0;
                }
                // If what follows does not fit, it is continued here.
                place.cursor = place.next;
            }
            // SAFETY: `start` took the lock; nothing found under it is used any more.
            unsafe { raw::rcu_read_unlock() };
            // SAFETY: Readers can sleep.
            unsafe { helpers::cond_resched() };
            // SAFETY: Can be called in every context.
            unsafe { raw::rcu_read_lock() };
        }
    }
}

/// Takes a file's text. What does not fit is dropped, and all of it is written again later with
/// more room: writing never fails.
///
/// # Invariants
///
/// `m` is valid and its buffer can be written to for `'a`; `count` is never above `size`.
pub struct Writer<'a> {
    m: NonNull<raw::seq_file>,
    _p: PhantomData<&'a mut raw::seq_file>,
}

impl Writer<'_> {
    /// # Safety
    ///
    /// `m` is what the kernel gave to a `show` that runs while the result is used.
    unsafe fn new(m: *mut raw::seq_file) -> Self {
        Self {
            // SAFETY: By the requirement.
            m: unsafe { NonNull::new_unchecked(m) },
            _p: PhantomData,
        }
    }

    #[inline]
    fn count(&self) -> usize {
        // SAFETY: Valid, by the type's invariant.
        unsafe { (*self.m.as_ptr()).count }
    }

    #[inline]
    fn size(&self) -> usize {
        // SAFETY: Valid, by the type's invariant.
        unsafe { (*self.m.as_ptr()).size }
    }

    /// Whether there is no room: nothing that is written now is kept.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.count() >= self.size()
    }

    /// Where it is, for [`Self::rewind`].
    #[inline]
    pub fn mark(&self) -> usize {
        self.count()
    }

    /// Forgets what was written since `mark`.
    pub fn rewind(&mut self, mark: usize) {
        let count = mark.min(self.count());
        // INVARIANT: No more than before.
        // SAFETY: Valid, by the type's invariant.
        unsafe { (*self.m.as_ptr()).count = count };
    }

    /// Writes bytes.
    #[inline]
    pub fn bytes(&mut self, text: &[u8]) {
        let count = self.count();
        // As `seq_write()`: a full buffer is how it tells that something did not fit.
        if text.len() < self.size().saturating_sub(count) {
            // SAFETY: Valid, by the type's invariant.
            let to = unsafe { (*self.m.as_ptr()).buf }.wrapping_add(count);
            // SAFETY: There is room for it, as just checked.
            unsafe { ptr::copy_nonoverlapping(text.as_ptr(), to.cast(), text.len()) };
            // SAFETY: Valid, by the type's invariant.
            unsafe { (*self.m.as_ptr()).count = count.wrapping_add(text.len()) };
        } else {
            let size = self.size();
            // SAFETY: Valid, by the type's invariant.
            unsafe { (*self.m.as_ptr()).count = size };
        }
    }

    /// Writes `text`, with spaces after it up to `width`.
    pub fn left(&mut self, text: &[u8], width: usize) {
        self.bytes(text);
        self.spaces(width.saturating_sub(text.len()));
    }

    /// Writes `text`, with spaces before it up to `width`.
    pub fn right(&mut self, text: &[u8], width: usize) {
        self.spaces(width.saturating_sub(text.len()));
        self.bytes(text);
    }

    fn spaces(&mut self, n: usize) {
        (0..n).for_each(|_| self.bytes(b" "));
    }

    /// Writes `value` in capital hexadecimal digits, at least `width` (up to 16) with zeroes.
    pub fn hex(&mut self, value: u64, width: usize) {
        let mut buf = [b'0'; 16];
        let used = digits(&mut buf, value, 16);
        self.bytes(buf.get(16 - used.max(width.min(16))..).unwrap_or(&[]));
    }

    /// Writes `value` in decimal digits, with spaces before it up to `width`.
    pub fn decimal(&mut self, value: u64, width: usize) {
        let mut buf = [b'0'; 20];
        let used = digits(&mut buf, value, 10);
        self.right(buf.get(20 - used..).unwrap_or(&[]), width);
    }
}

/// Writes the digits of `value` to the end of `buf`, and gives how many.
fn digits(buf: &mut [u8], mut value: u64, base: u64) -> usize {
    let mut used = 0;
    for c in buf.iter_mut().rev() {
        if value == 0 && used > 0 {
            break;
        }
        let digit = (value % base) as u8;
        *c = if digit < 10 { b'0' } else { b'A' - 10 } + digit;
        value /= base;
        used += 1;
    }
    used
}

impl fmt::Write for Writer<'_> {
    #[inline]
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.bytes(s.as_bytes());
        Ok(())
    }

    #[inline]
    fn write_char(&mut self, c: char) -> fmt::Result {
        self.bytes(c.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }
}
