/* SPDX-License-Identifier: GPL-2.0 */
/* What knet needs of the kernel and `kernel::bindings` lacks. */
#include <linux/icmp.h>
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/proc_fs.h>
#include <linux/seq_file_net.h>
#include <net/genetlink.h>
#include <net/ip.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>
#include <net/route.h>
#include "debug_switch.h"

extern int ipvs_conn_tab_bits;

/* Macros that bindgen does not follow, or of which it finds another definition first. */
#define CONST(name) const unsigned int KNET_##name = name
CONST(HZ);
CONST(CHECKSUM_NONE);
CONST(CHECKSUM_UNNECESSARY);
CONST(CHECKSUM_COMPLETE);
CONST(CHECKSUM_PARTIAL);
CONST(RTCF_LOCAL);
CONST(RTN_UNICAST);
CONST(RTN_LOCAL);
CONST(SKB_DST_NOREF);
CONST(SKB_GSO_IPXIP4);
CONST(SKB_GSO_IPXIP6);
CONST(SKB_GSO_GRE);
CONST(SKB_GSO_GRE_CSUM);
CONST(SKB_GSO_UDP_TUNNEL);
CONST(SKB_GSO_UDP_TUNNEL_CSUM);
CONST(SKB_GSO_TUNNEL_REMCSUM);
