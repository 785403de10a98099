// SPDX-License-Identifier: GPL-2.0
//! Any bytes, as each structure of the socket options: what is shown again is what was read.
#![no_main]
#![forbid(unsafe_code)]

use ipvs_logic::stats::Stats;
use ipvs_logic::uapi::{self, DestEntry, ServiceEntry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(user) = bytes.first_chunk() {
        let key = uapi::service_key(user);
        if let Ok(conf) = uapi::service_conf(user) {
            let mut out = [0xff; uapi::SERVICE_ENTRY_LEN];
            ServiceEntry {
                key,
                sched: conf.sched,
                flags: conf.flags,
                timeout: conf.timeout,
                netmask: conf.netmask,
                num_dests: 0,
                stats: Stats::default(),
            }
            .emit(&mut out);
            assert_eq!(uapi::service_key(&out), key);
            let again = out.first_chunk().map(uapi::service_conf);
            assert_eq!(again, Some(Ok(conf)));
        }
    }
    if let Some(user) = bytes.first_chunk() {
        let (_, key, conf) = uapi::svcdest(user);
        let entry = DestEntry {
            key,
            flags: conf.conn_flags,
            weight: conf.weight,
            u_threshold: conf.u_threshold,
            l_threshold: conf.l_threshold,
            active: 0,
            inactive: 0,
            persistent: 0,
            stats: Stats::default(),
        };
        let again = entry.emit().first_chunk().map(uapi::dest);
        assert_eq!(again, Some((key, conf)));
    }
    if let Some(user) = bytes.first_chunk() {
        assert_eq!(uapi::put_timeouts(&uapi::timeouts(user)), *user);
    }
    if let Some(Ok(d)) = bytes.first_chunk().map(uapi::daemon) {
        let again = uapi::put_daemons(&[d, d]);
        assert_eq!(again.first_chunk().map(uapi::daemon), Some(Ok(d)));
    }
    if let Some(size) = bytes.first_chunk() {
        let (_, len) = uapi::version(u32::from_ne_bytes(*size));
        assert!(len < uapi::VERSION_LEN);
    }
});
