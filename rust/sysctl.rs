// SPDX-License-Identifier: GPL-2.0
//! Sysctls of a namespace that read and write an object of it.
//!
//! The kernel's own handlers parse and print, so that ranges, separators, partial reads and errors
//! are what programs know.
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h)

use crate::{
    net::Net,
    raw,
    rcu::{Arc, Inner, Object, Ref},
};
use core::{
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicI32, AtomicUsize},
};
use kernel::prelude::*;

/// Who may write an entry, besides being allowed to by its file's mode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writable {
    Always,
    InPrivilegedNet,
    InInitNet,
}

/// What is behind an entry.
enum Kind<T: Object> {
    Int(fn(&T) -> &AtomicI32),
    Range(fn(&T) -> &AtomicI32, c_int, c_int),
    Jiffies(fn(&T) -> &AtomicI32),
    Long(fn(&T) -> &AtomicUsize),
    Call {
        get: fn(&T) -> i32,
        set: fn(Ref<'_, T>, i32, i32) -> Result,
    },
    Pair {
        get: fn(&T) -> [i32; 2],
        set: fn(Ref<'_, T>, [Option<i32>; 2]) -> Result,
    },
    Text {
        get: fn(&T, &mut [u8]) -> Result<usize>,
        set: fn(Ref<'_, T>, &[u8]) -> Result,
    },
}

/// A file below `/proc/sys`, to be put in a static table.
pub struct Entry<T: Object> {
    name: &'static CStr,
    writable: Writable,
    kind: Kind<T>,
}

impl<T: Object> Entry<T> {
    const fn new(name: &'static CStr, kind: Kind<T>) -> Self {
        Self {
            name,
            writable: Writable::Always,
            kind,
        }
    }

    /// A number.
    pub const fn int(name: &'static CStr, at: fn(&T) -> &AtomicI32) -> Self {
        Self::new(name, Kind::Int(at))
    }

    /// A number from `min` to `max`; others are refused with `EINVAL`.
    pub const fn range(name: &'static CStr, at: fn(&T) -> &AtomicI32, min: i32, max: i32) -> Self {
        Self::new(name, Kind::Range(at, min, max))
    }

    /// A time that users see in seconds, and `T` in jiffies.
    pub const fn jiffies(name: &'static CStr, at: fn(&T) -> &AtomicI32) -> Self {
        Self::new(name, Kind::Jiffies(at))
    }

    /// An `unsigned long`.
    pub const fn long(name: &'static CStr, at: fn(&T) -> &AtomicUsize) -> Self {
        Self::new(name, Kind::Long(at))
    }

    /// A number that is read by `get`, and written by `set` with the one that was and the one that
    /// shall be, which may be the same. `set` stores it, or refuses it with an error.
    pub const fn call(
        name: &'static CStr,
        get: fn(&T) -> i32,
        set: fn(Ref<'_, T>, i32, i32) -> Result,
    ) -> Self {
        Self::new(name, Kind::Call { get, set })
    }

    /// Two numbers. `set` gets those that are written, and is called for each write.
    pub const fn pair(
        name: &'static CStr,
        get: fn(&T) -> [i32; 2],
        set: fn(Ref<'_, T>, [Option<i32>; 2]) -> Result,
    ) -> Self {
        Self::new(name, Kind::Pair { get, set })
    }

    /// A text. `get` writes it, with a newline, to a buffer and gives its length, of which only what
    /// fits counts; `set` gets all that is written at once.
    pub const fn text(
        name: &'static CStr,
        get: fn(&T, &mut [u8]) -> Result<usize>,
        set: fn(Ref<'_, T>, &[u8]) -> Result,
    ) -> Self {
        Self::new(name, Kind::Text { get, set })
    }

    /// Read-only in a namespace that is not owned by the initial user namespace.
    pub const fn privileged(mut self) -> Self {
        self.writable = Writable::InPrivilegedNet;
        self
    }

    /// Read-only in all namespaces but the first.
    pub const fn init_only(mut self) -> Self {
        self.writable = Writable::InInitNet;
        self
    }

    fn table(&'static self, net: &Net, state: &Arc<T>) -> raw::ctl_table {
        let writable = match self.writable {
            Writable::Always => true,
            Writable::InPrivilegedNet => net.is_privileged(),
            Writable::InInitNet => net.is_init(),
        };
        let table = raw::ctl_table {
            procname: self.name.as_char_ptr(),
            mode: if writable { 0o644 } else { 0o444 },
            ..pin_init::zeroed()
        };
        let int = |at: fn(&T) -> &AtomicI32| raw::ctl_table {
            data: at(state).as_ptr().cast(),
            maxlen: size_of::<c_int>() as c_int,
            ..table
        };
        // What `context` expects.
        let custom = raw::ctl_table {
            extra1: ptr::from_ref(self).cast_mut().cast(),
            extra2: ptr::from_ref(state.as_ref().0).cast_mut().cast(),
            ..table
        };
        match &self.kind {
            Kind::Int(at) => raw::ctl_table {
                proc_handler: Some(raw::proc_dointvec),
                ..int(*at)
            },
            Kind::Range(at, min, max) => raw::ctl_table {
                proc_handler: Some(raw::proc_dointvec_minmax),
                extra1: ptr::from_ref(min).cast_mut().cast(),
                extra2: ptr::from_ref(max).cast_mut().cast(),
                ..int(*at)
            },
            Kind::Jiffies(at) => raw::ctl_table {
                proc_handler: Some(raw::proc_dointvec_jiffies),
                ..int(*at)
            },
            Kind::Long(at) => raw::ctl_table {
                data: at(state).as_ptr().cast(),
                maxlen: size_of::<c_ulong>() as c_int,
                proc_handler: Some(raw::proc_doulongvec_minmax),
                ..table
            },
            Kind::Call { .. } => raw::ctl_table {
                proc_handler: Some(call::<T>),
                ..custom
            },
            Kind::Pair { .. } => raw::ctl_table {
                proc_handler: Some(pair::<T>),
                ..custom
            },
            Kind::Text { .. } => raw::ctl_table {
                proc_handler: Some(text::<T>),
                ..custom
            },
        }
    }
}

/// Registered entries, until dropped. Dropping waits for readers and writers.
///
/// # Invariants
///
/// `header` is registered for `table`, which does not move, in a namespace that exists for `'n`; the
/// pointers in `table` lead into `state` and statics.
pub struct Table<'n, T: Object> {
    header: NonNull<raw::ctl_table_header>,
    _table: KVec<raw::ctl_table>,
    _state: Arc<T>,
    _p: PhantomData<&'n Net>,
}

// SAFETY: Can be unregistered from everywhere.
unsafe impl<T: Object> Send for Table<'_, T> {}
// SAFETY: No methods.
unsafe impl<T: Object> Sync for Table<'_, T> {}

impl<'n, T: Object> Table<'n, T> {
    /// Registers `entries` of `state` below `path`, which may have other entries already.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if there is an entry of that name.
    pub fn new(
        net: &'n Net,
        path: &'static CStr,
        state: Arc<T>,
        entries: &'static [Entry<T>],
    ) -> Result<Self> {
        let mut table = KVec::with_capacity(entries.len(), GFP_KERNEL)?;
        for entry in entries {
            table.push(entry.table(net, &state), GFP_KERNEL)?;
        }
        // SAFETY: The table stays where it is until it is unregistered in `drop`, and so does what
        // it points to: statics, and what `state` keeps.
        let header = unsafe {
            raw::register_net_sysctl_sz(
                net.as_ptr(),
                path.as_char_ptr(),
                table.as_mut_ptr(),
                table.len(),
            )
        };
        // INVARIANT: Just registered.
        Ok(Self {
            header: NonNull::new(header).ok_or(ENOMEM)?,
            _table: table,
            _state: state,
            _p: PhantomData,
        })
    }
}

impl<T: Object> Drop for Table<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { raw::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}

/// What one call of a handler reads or writes.
///
/// # Invariants
///
/// As the kernel gave it to a handler that is running.
struct Io {
    name: *const c_char,
    write: bool,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut raw::loff_t,
}

impl Io {
    /// Reads or writes numbers. Those that are not written stay.
    fn ints<const N: usize>(&self, values: &mut [c_int; N]) -> c_int {
        let table = raw::ctl_table {
            procname: self.name,
            data: values.as_mut_ptr().cast(),
            maxlen: size_of_val(values) as c_int,
            ..pin_init::zeroed()
        };
        // SAFETY: A valid table for the numbers; the rest is valid by the type's invariant.
        unsafe { raw::proc_dointvec(&table, self.write.into(), self.buffer, self.len, self.pos) }
    }

    fn len_pos(&self) -> (usize, raw::loff_t) {
        // SAFETY: Valid, by the type's invariant.
        unsafe { (*self.len, *self.pos) }
    }
}

/// # Safety
///
/// `table` belongs to a custom entry made by `Entry::table`, and the kernel runs its handler.
unsafe fn context<'a, T: Object>(table: *const raw::ctl_table) -> (&'a Entry<T>, Ref<'a, T>) {
    // SAFETY: By the requirement.
    let (entry, state) = unsafe { ((*table).extra1, (*table).extra2) };
    // SAFETY: A static.
    let entry = unsafe { &*entry.cast::<Entry<T>>() };
    // SAFETY: The `Table` keeps it until no handler runs.
    (entry, unsafe { Ref::from_raw(state.cast::<Inner<T>>()) })
}

/// # Safety
///
/// The handler of a `Kind::Call`, called by the kernel.
unsafe extern "C" fn call<T: Object>(
    table: *const raw::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut raw::loff_t,
) -> c_int {
    // SAFETY: By the requirement.
    let (entry, state) = unsafe { context::<T>(table) };
    let Kind::Call { get, set } = &entry.kind else {
        return EINVAL.to_errno();
    };
    // INVARIANT: As the kernel gave it.
    let mut io = Io {
        name: entry.name.as_char_ptr(),
        write: write != 0,
        buffer,
        len,
        pos,
    };
    let (mut len, mut pos) = io.len_pos();
    let old = get(&state);
    let mut new = [old];
    let ret = io.ints(&mut new);
    if !io.write || ret != 0 {
        return ret;
    }
    if new == [old] {
        // Nothing may have been written at all: is it still the same if it was another before?
        let mut other = [!old];
        (io.len, io.pos) = (&raw mut len, &raw mut pos);
        if io.ints(&mut other) != 0 || other != new {
            return 0;
        }
    }
    match set(state, old, new[0]) {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// The handler of a `Kind::Pair`, called by the kernel.
unsafe extern "C" fn pair<T: Object>(
    table: *const raw::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut raw::loff_t,
) -> c_int {
    // SAFETY: By the requirement.
    let (entry, state) = unsafe { context::<T>(table) };
    let Kind::Pair { get, set } = &entry.kind else {
        return EINVAL.to_errno();
    };
    // INVARIANT: As the kernel gave it.
    let mut io = Io {
        name: entry.name.as_char_ptr(),
        write: write != 0,
        buffer,
        len,
        pos,
    };
    let (mut len, mut pos) = io.len_pos();
    let mut new = get(&state);
    let mut other = new.map(|n| !n);
    let ret = io.ints(&mut new);
    if !io.write {
        return ret;
    }
    // What is written is the same in both, whatever they were before.
    (io.len, io.pos) = (&raw mut len, &raw mut pos);
    let _ = io.ints(&mut other);
    let ([a, b], [x, y]) = (new, other);
    let same = |n, m| (n == m).then_some(n);
    // The first number is taken even if something is wrong with the second.
    match set(state, [same(a, x), same(b, y)]) {
        Ok(()) => ret,
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// The handler of a `Kind::Text`, called by the kernel.
unsafe extern "C" fn text<T: Object>(
    table: *const raw::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut raw::loff_t,
) -> c_int {
    // SAFETY: By the requirement.
    let (entry, state) = unsafe { context::<T>(table) };
    let Kind::Text { get, set } = &entry.kind else {
        return EINVAL.to_errno();
    };
    // SAFETY: Valid during the call.
    let (len, pos) = unsafe { (&mut *len, &mut *pos) };
    // Only all of it at once.
    if *pos != 0 || *len == 0 {
        *len = 0;
        return 0;
    }
    let done = if write != 0 {
        // SAFETY: The kernel copied `len` bytes there.
        set(state, unsafe { slice::from_raw_parts(buffer.cast(), *len) })
    } else {
        // SAFETY: The kernel cleared `len` bytes there.
        let room = unsafe { slice::from_raw_parts_mut(buffer.cast(), *len) };
        get(&state, room).map(|n| *len = n.min(*len))
    };
    match done {
        Ok(()) => {
            *pos = pos.wrapping_add(*len as raw::loff_t);
            0
        }
        Err(e) => e.to_errno(),
    }
}
