// SPDX-License-Identifier: GPL-2.0
//! Schedulers: which real server gets a new connection.
//!
//! A scheduler is a type with the [`Scheduler`] trait, made known by a [`Registration`] in a module
//! of its own, whose name is `ip_vs_` and the scheduler's. Each service has a value of it. The
//! module stays loaded until the last of these is dropped.
//!
//! C counterpart: net/netfilter/ipvs/ip_vs_sched.c

use crate::{
    ip_vs_ns::NsArc,
    ip_vs_svc::{Dest, Service},
};
use core::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Deref,
};
use ipvs_logic::{
    addr::{self, Addr, Af, Port, Proto, Tuple},
    conns::Conns,
    ctl::ServiceKey,
    flags::SvcFlags,
    sched::DestView,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{self, Mutex},
};
use knet::{
    module::{self, ModuleRef},
    rcu::{Arc, Object, Rcu, Ref, Slot},
    Gfp,
};

pub mod cache;
mod lookup;

pub use lookup::{Hashed, Hashing, Table};

/// A real server in the list that a scheduler chooses from.
#[repr(transparent)]
#[derive(Clone)]
pub struct DestRef(Arc<Dest>);

impl DestRef {
    pub(crate) fn new(dest: Arc<Dest>) -> Self {
        Self(dest)
    }

    pub(crate) fn arc(&self) -> &Arc<Dest> {
        &self.0
    }

    /// Whether both are the same server.
    #[inline]
    pub fn same(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Object for DestRef {}

impl Deref for DestRef {
    type Target = Dest;
    #[inline]
    fn deref(&self) -> &Dest {
        &self.0
    }
}

impl DestView for DestRef {
    #[inline]
    fn weight(&self) -> i32 {
        self.0.weight()
    }
    #[inline]
    fn overloaded(&self) -> bool {
        self.0.is_overloaded()
    }
    #[inline]
    fn conns(&self) -> Conns {
        self.0.conns()
    }
    #[inline]
    fn available(&self) -> bool {
        self.0.is_available()
    }
}

/// A connection that wants a server.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// From the client to the service.
    pub tuple: &'a Tuple,
    /// The headers at hand are those of a packet to the client: an ICMP error quotes it.
    pub is_reply: bool,
    /// What the service is found by.
    pub service: &'a ServiceKey,
    /// The service's flags as they are now.
    pub flags: SvcFlags,
}

impl Request<'_> {
    /// Address of the client.
    #[inline]
    pub fn client(&self) -> &Addr {
        &self.tuple.src.addr
    }

    /// Port of the client, 0 for protocols without ports.
    #[inline]
    pub fn client_port(&self) -> Port {
        match self.tuple.proto {
            Proto::TCP | Proto::UDP | Proto::SCTP => self.tuple.src.port,
            _ => Port::ZERO,
        }
    }

    /// The destination address in the headers at hand.
    #[inline]
    pub fn destination(&self) -> &Addr {
        if self.is_reply {
            &self.tuple.src.addr
        } else {
            &self.tuple.dst.addr
        }
    }
}

/// The service that a scheduler is made for.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Its namespace.
    pub ns: &'a NsArc,
    /// What it is found by.
    pub service: &'a ServiceKey,
    /// Its servers.
    pub dests: &'a [DestRef],
}

/// What most schedulers say when they find no server.
pub const NO_SERVER: &str = "no destination available";

/// How to choose, with what it remembers of one service.
///
/// Lists of servers have the newest first.
pub trait Scheduler: Sized + Send + Sync + 'static {
    /// Name, as `ipvsadm -s` takes it.
    const NAME: &'static CStr;

    /// For a service that has these servers. May sleep.
    ///
    /// # Errors
    ///
    /// Whatever it likes: adding or changing the service then fails with it.
    fn new(setting: &Setting<'_>) -> Result<Self>;

    /// The server for a new connection: one of `dests`, or one that is found under RCU. Softirq.
    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        request: &Request<'_>,
        rcu: Rcu<'a>,
    ) -> Option<&'a DestRef>;

    /// What the kernel's log is told after `schedule` gave none for this request; `None` for nothing.
    fn why_none(&self, _request: &Request<'_>, _rcu: Rcu<'_>) -> Option<&'static str> {
        Some(NO_SERVER)
    }

    /// A server was put first in the list. Like the ones below: may sleep, not called concurrently
    /// with these, and packets may have been scheduled by the new list already.
    fn dest_added(&self, _dests: &[DestRef]) {}

    /// A server was taken out of the list, where `index` of those that are left were before it.
    fn dest_removed(&self, _dests: &[DestRef], _index: usize) {}

    /// Weight, thresholds or flags of a server were changed.
    fn dest_changed(&self, _dests: &[DestRef]) {}
}

/// [`Scheduler`] without the type.
trait DynScheduler: Send + Sync {
    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        request: &Request<'_>,
        rcu: Rcu<'a>,
    ) -> Option<&'a DestRef>;
    fn why_none(&self, request: &Request<'_>, rcu: Rcu<'_>) -> Option<&'static str>;
    fn dest_added(&self, dests: &[DestRef]);
    fn dest_removed(&self, dests: &[DestRef], index: usize);
    fn dest_changed(&self, dests: &[DestRef]);
}

impl<T: Scheduler> DynScheduler for T {
    fn schedule<'a>(
        &self,
        dests: &'a [DestRef],
        request: &Request<'_>,
        rcu: Rcu<'a>,
    ) -> Option<&'a DestRef> {
        T::schedule(self, dests, request, rcu)
    }
    fn why_none(&self, request: &Request<'_>, rcu: Rcu<'_>) -> Option<&'static str> {
        T::why_none(self, request, rcu)
    }
    fn dest_added(&self, dests: &[DestRef]) {
        T::dest_added(self, dests)
    }
    fn dest_removed(&self, dests: &[DestRef], index: usize) {
        T::dest_removed(self, dests, index)
    }
    fn dest_changed(&self, dests: &[DestRef]) {
        T::dest_changed(self, dests)
    }
}

/// A scheduler that was made known.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static CStr,
    module: &'static ThisModule,
    make: fn(&Setting<'_>) -> Result<KBox<dyn DynScheduler>>,
}

/// The schedulers there are, while ip_vs.ko is loaded.
#[pin_data]
pub struct Registry {
    #[pin]
    entries: Mutex<KVec<Entry>>,
    /// ip_vs.ko.
    module: &'static ThisModule,
}

impl Object for Registry {}

static REGISTRY: Slot<Registry> = Slot::empty();

/// Schedulers can be registered as long as this exists.
pub struct Open(());

impl Open {
    /// Called when ip_vs.ko is loaded.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        let registry = Arc::pin_init(
            try_pin_init!(Registry {
                entries <- new_mutex!(KVec::new(), "ipvs->schedulers"),
                module,
            }),
            Gfp::Kernel,
        )?;
        REGISTRY.swap(Some(registry));
        Ok(Self(()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        REGISTRY.swap(None);
    }
}

/// A reference that keeps ip_vs.ko loaded; `None` when it is being unloaded.
pub fn hold_ip_vs() -> Option<ModuleRef> {
    ModuleRef::get(REGISTRY.get()?.module)
}

/// A scheduler is known until this is dropped. For the `init` of its module.
pub struct Registration {
    name: &'static CStr,
    _ip_vs: ModuleRef,
}

impl Registration {
    /// Makes `T`, which is in `module`, known.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the name is taken.
    pub fn new<T: Scheduler>(module: &'static ThisModule) -> Result<Self> {
        fn make<T: Scheduler>(setting: &Setting<'_>) -> Result<KBox<dyn DynScheduler>> {
            Ok(KBox::new(T::new(setting)?, GFP_KERNEL)?)
        }
        Self::register(Entry {
            name: T::NAME,
            module,
            make: make::<T>,
        })
    }

    fn register(entry: Entry) -> Result<Self> {
        let ip_vs = hold_ip_vs().ok_or(ENOENT)?;
        let registry = REGISTRY.get().ok_or(ENOENT)?;
        let mut entries = registry.entries.lock();
        if entries.iter().any(|e| e.name == entry.name) {
            pr_err!(
                "register_ip_vs_scheduler(): [{:?}] scheduler already existed in the system\n",
                Name(entry.name)
            );
            return Err(EINVAL);
        }
        entries.push(entry, GFP_KERNEL)?;
        drop(entries);
        pr_info!("[{:?}] scheduler registered.\n", Name(entry.name));
        Ok(Self {
            name: entry.name,
            _ip_vs: ip_vs,
        })
    }
}

/// The module of a scheduler: registers it while it is loaded. Takes what `module!` takes, with the
/// [`Scheduler`] as the type.
#[macro_export]
macro_rules! module_scheduler {
    (type: $type:ty, $($rest:tt)*) => {
        struct SchedulerModule {
            _registration: $crate::ip_vs_sched::Registration,
        }

        impl ::kernel::Module for SchedulerModule {
            fn init(module: &'static ::kernel::ThisModule) -> ::kernel::error::Result<Self> {
                Ok(Self {
                    _registration: $crate::ip_vs_sched::Registration::new::<$type>(module)?,
                })
            }
        }

        ::kernel::prelude::module! {
            type: SchedulerModule,
            $($rest)*
            imports_ns: ["IPVS_RS"],
        }
    };
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(registry) = REGISTRY.get() {
            registry.entries.lock().retain(|e| e.name != self.name);
            // Values that services had, and what these have: freed with the module's code.
            knet::rcu::barrier(crate::FREE_DEPTH);
            pr_info!("[{:?}] scheduler unregistered.\n", Name(self.name));
        }
    }
}

/// A name that prints without quotes.
struct Name(&'static CStr);

impl kernel::fmt::Debug for Name {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        f.write_str(self.0.to_str().unwrap_or("?"))
    }
}

/// A scheduler of a service.
///
/// Whoever has one also has the [`ModuleRef`] that came with it, and drops that last: dropping the
/// scheduler needs its module's code. Packets find it through rosters, so it goes with the last of
/// these, a grace period later; [`Registration`] waits for that.
pub struct Bound {
    name: &'static CStr,
    sched: KBox<dyn DynScheduler>,
}

impl Bound {
    /// Finds a scheduler by name, loads its module if that is needed, and makes a value of it for a
    /// service that has these servers. `None` for the name "none". Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is no such scheduler; those of [`Scheduler::new`].
    pub fn by_name(
        name: &[u8],
        setting: &Setting<'_>,
    ) -> Result<Option<(sync::Arc<Self>, ModuleRef)>> {
        if name == b"none" {
            return Ok(None);
        }
        let (entry, module) = match Self::find(name) {
            Some(found) => found,
            None => {
                let _ = module::request("ip_vs_", name);
                Self::find(name).ok_or_else(|| {
                    let name = core::str::from_utf8(name).unwrap_or("?");
                    pr_info!("Scheduler module ip_vs_{} not found\n", name);
                    ENOENT
                })?
            }
        };
        let bound = Self {
            name: entry.name,
            sched: (entry.make)(setting)?,
        };
        Ok(Some((sync::Arc::new(bound, GFP_KERNEL)?, module)))
    }

    fn find(name: &[u8]) -> Option<(Entry, ModuleRef)> {
        let registry = REGISTRY.get()?;
        let entries = registry.entries.lock();
        entries
            .iter()
            .filter(|e| e.name.to_bytes() == name)
            .find_map(|e| Some((*e, ModuleRef::get(e.module)?)))
    }

    /// Its name.
    pub fn name(&self) -> &'static CStr {
        self.name
    }

    /// The server for a new connection.
    #[inline]
    pub fn choose<'a>(
        &self,
        dests: &'a [DestRef],
        request: &Request<'_>,
        rcu: Rcu<'a>,
    ) -> Option<Ref<'a, Dest>> {
        self.sched
            .schedule(dests, request, rcu)
            .map(|d| d.0.as_ref())
    }

    /// A server was put first in the list.
    pub fn dest_added(&self, dests: &[DestRef]) {
        self.sched.dest_added(dests)
    }

    /// The server at `index` was taken out of the list.
    pub fn dest_removed(&self, dests: &[DestRef], index: usize) {
        self.sched.dest_removed(dests, index)
    }

    /// A server was changed.
    pub fn dest_changed(&self, dests: &[DestRef]) {
        self.sched.dest_changed(dests)
    }
}

/// Says, not too often, why a service had no server for a request.
#[cold]
pub fn complain(svc: &Service, request: &Request<'_>, rcu: Rcu<'_>) {
    let roster = svc.roster.load(rcu);
    let Some(sched) = roster.and_then(|r| r.value().sched.as_ref()) else {
        return;
    };
    let Some(message) = sched.sched.why_none(request, rcu) else {
        return;
    };
    if !knet::ratelimit() {
        return;
    }
    let name = sched.name.to_str().unwrap_or("?");
    let key = &svc.key;
    if key.is_fwmark() {
        pr_err!(
            "{}: FWM {} 0x{:08X} - {}\n",
            name,
            key.fwmark,
            key.fwmark,
            message
        );
    } else {
        let proto = addr::proto_name(key.proto).unwrap_or("IP");
        let port = key.port.host();
        // Formatted by `core`, as the kernel's own traits do not know these types.
        match key.af {
            Af::Inet => pr_err!(
                "{}: {} {}:{} - {}\n",
                name,
                proto,
                core::format_args!("{}", Ipv4Addr::from(key.addr.v4_host())),
                port,
                message
            ),
            Af::Inet6 => pr_err!(
                "{}: {} [{}]:{} - {}\n",
                name,
                proto,
                core::format_args!("{}", Ipv6Addr::from(key.addr.to_bytes16())),
                port,
                message
            ),
        }
    }
}
