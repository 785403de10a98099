// SPDX-License-Identifier: GPL-2.0
//! The `module!` of ip_vs.ko.
#![forbid(unsafe_code)]
use kernel::prelude::*;

module! {
    type: IpvsModule,
    name: "ip_vs",
    description: "IP Virtual Server",
    license: "GPL",
    alias: ["net-pf-16-proto-16-family-IPVS"],
}

struct IpvsModule {
    _ipvs: ip_vs_rs::Ipvs,
}

impl kernel::Module for IpvsModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _ipvs: ip_vs_rs::Ipvs::new(module)?,
        })
    }
}
