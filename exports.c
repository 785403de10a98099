// SPDX-License-Identifier: GPL-2.0
/* What only C can say for ip_vs.ko: its symbols, and parameters with permissions. */
#include <linux/export.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

int ipvs_conn_tab_bits = CONFIG_IP_VS_TAB_BITS;
module_param_named(conn_tab_bits, ipvs_conn_tab_bits, int, 0444);
MODULE_PARM_DESC(conn_tab_bits, "Set connections' hash size");

/* Stock needs it, and programs set its sysctls once ip_vs is loaded. */
MODULE_SOFTDEP("pre: nf_conntrack");

/* The type is a lie that the linker does not see: each is a Rust function or static. */
#define EXPORT_SYMBOL_RUST_GPL(sym) extern int sym; EXPORT_SYMBOL_NS_GPL(sym, "IPVS_RS")
#include "exports_generated.h"
