// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's macros and inline functions that knet calls, one function an operation: what a packet
 * needs together is one call.
 */
#include <linux/compiler_types.h>
#include <linux/cpumask.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/idr.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/sched/isolation.h>
#include <linux/sched/task.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/sockptr.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/genetlink.h>
#include <net/gre.h>
#include <net/gso.h>
#include <net/icmp.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ip_tunnels.h>
#include <net/ipv6.h>
#include <net/netns/generic.h>
#include <net/route.h>
#include <net/udp.h>
#include <net/xfrm.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_zones.h>
#include "debug_switch.h"

#define __ipvs_helper

/* ---- scheduling, memory ---- */
__ipvs_helper void ipvs_helper_cond_resched(void)
{
	cond_resched();
}

__ipvs_helper struct kmem_cache *ipvs_helper_kmem_cache_create_hwalign(const char *name, unsigned int size,
								      unsigned int align)
{
	return kmem_cache_create(name, size, align, SLAB_HWCACHE_ALIGN, NULL);
}

__ipvs_helper void *ipvs_helper_kvzalloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

/* ---- locks of a hash table ---- */
struct ipvs_stripe {
	spinlock_t lock;
} ____cacheline_aligned_in_smp;

__ipvs_helper void *ipvs_helper_stripes_alloc(unsigned int n)
{
	struct ipvs_stripe *s = kvmalloc_array(n, sizeof(*s), GFP_KERNEL);
	unsigned int i;

	for (i = 0; s && i < n; i++)
		spin_lock_init(&s[i].lock);
	return s;
}

/* a <= b */
__ipvs_helper void ipvs_helper_stripes_lock(void *locks, u32 a, u32 b)
{
	struct ipvs_stripe *s = locks;

	spin_lock_bh(&s[a].lock);
	if (a != b)
		spin_lock_nested(&s[b].lock, SINGLE_DEPTH_NESTING);
}

__ipvs_helper void ipvs_helper_stripes_unlock(void *locks, u32 a, u32 b)
{
	struct ipvs_stripe *s = locks;

	if (a != b)
		spin_unlock(&s[b].lock);
	spin_unlock_bh(&s[a].lock);
}

static DEFINE_IDA(table_ids);

/* From 1 to max, or an error. */
__ipvs_helper int ipvs_helper_table_id_get(u32 max)
{
	return ida_alloc_range(&table_ids, 1, max, GFP_KERNEL);
}

__ipvs_helper void ipvs_helper_table_id_put(u32 id)
{
	ida_free(&table_ids, id);
}

/* ---- timers ---- */
__ipvs_helper void ipvs_helper_timer_setup(struct timer_list *t, void (*fn)(struct timer_list *))
{
	timer_setup(t, fn, 0);
	/* Read before the timer is started. */
	t->expires = 0;
}

/* ---- packets ---- */
__ipvs_helper bool ipvs_helper_skb_is_local(const struct sk_buff *skb)
{
	return !skb->dev || skb->dev->flags & IFF_LOOPBACK;
}

__ipvs_helper bool ipvs_helper_skb_nodefrag(struct sk_buff *skb)
{
	struct sock *sk = skb_to_full_sk(skb);

	return sk && sk->sk_family == PF_INET && inet_test_bit(NODEFRAG, sk);
}

__ipvs_helper int ipvs_helper_skb_make_writable(struct sk_buff *skb, u32 len, u32 headroom)
{
	int err = skb_ensure_writable(skb, len) ?: skb_cow(skb, headroom);

	/* The flag may be left from a clone that is gone: now nobody else has the data. */
	if (!err)
		skb->cloned = 0;
	return err;
}

/* Of a packet that others may see. */
__ipvs_helper int ipvs_helper_skb_decrement_ttl4(struct sk_buff *skb)
{
	int err = skb_ensure_writable(skb, sizeof(struct iphdr));

	if (!err)
		ip_decrease_ttl(ip_hdr(skb));
	return err;
}

__ipvs_helper u16 ipvs_helper_skb_checksum_fold(const struct sk_buff *skb, u32 offset, u32 len)
{
	return (__force u16)csum_fold(skb_checksum(skb, offset, len, 0));
}

__ipvs_helper u32 ipvs_helper_skb_checksum_sum(const struct sk_buff *skb, u32 offset, u32 len)
{
	return (__force u32)skb_checksum(skb, offset, len, 0);
}

__ipvs_helper bool ipvs_helper_skb_checksum_right4(struct sk_buff *skb, u32 offset, u8 proto)
{
	/* Packets of local sockets have no device, and need no check. */
	return skb_csum_unnecessary(skb) || !skb->dev ||
	       !nf_checksum(skb, NF_INET_LOCAL_IN, offset, proto, AF_INET);
}

__ipvs_helper bool ipvs_helper_skb_exceeds_mtu(const struct sk_buff *skb, u32 mtu)
{
	return !(skb_is_gso(skb) && skb_gso_validate_network_len(skb, mtu));
}

__ipvs_helper int ipvs_helper_skb_reroute4(struct net *net, struct sk_buff *skb)
{
	if (skb_rtable(skb)->rt_flags & RTCF_LOCAL)
		return 0;
	return ip_route_me_harder(net, skb->sk, skb, RTN_LOCAL);
}

__ipvs_helper void ipvs_helper_icmp_send4(struct sk_buff *skb, int type, int code, u32 info)
{
	icmp_send(skb, type, code, (__force __be32)info);
}

__ipvs_helper void ipvs_helper_skb_link_failure(struct sk_buff *skb)
{
	if (!skb->dev)
		skb->dev = skb_dst(skb)->dev;
	dst_link_failure(skb);
}

__ipvs_helper void ipvs_helper_count_hdr_error4(struct net *net)
{
	IP_INC_STATS(net, IPSTATS_MIB_INHDRERRORS);
}

__ipvs_helper void ipvs_helper_skb_untrack(struct sk_buff *skb)
{
	nf_reset_ct(skb);
	nf_ct_set(skb, NULL, IP_CT_UNTRACKED);
}

__ipvs_helper bool ipvs_helper_skb_ct_confirmed(const struct sk_buff *skb)
{
	enum ip_conntrack_info ctinfo;
	struct nf_conn *ct = nf_ct_get(skb, &ctinfo);

	return ct && nf_ct_is_confirmed(ct);
}

static void ct_set_peer(union nf_inet_addr *at, __be16 *port, u8 proto, const u8 *addr, __be16 peer_port)
{
	memcpy(at, addr, sizeof(*at));
	if (proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6)
		*port = peer_port;
}

/* Only a new entry, which nobody can find yet, and only by a packet of the flow's first direction. */
__ipvs_helper void ipvs_helper_skb_ct_alter_reply(struct sk_buff *skb, bool source, const u8 *addr, __be16 port)
{
	enum ip_conntrack_info ctinfo;
	struct nf_conn *ct = nf_ct_get(skb, &ctinfo);
	struct nf_conntrack_tuple reply;

	if (!ct || nf_ct_is_confirmed(ct) || nf_ct_is_dying(ct) || CTINFO2DIR(ctinfo) != IP_CT_DIR_ORIGINAL)
		return;
	reply = ct->tuplehash[IP_CT_DIR_REPLY].tuple;
	if (source)
		ct_set_peer(&reply.src.u3, &reply.src.u.all, reply.dst.protonum, addr, port);
	else
		ct_set_peer(&reply.dst.u3, &reply.dst.u.all, reply.dst.protonum, addr, port);
	nf_conntrack_alter_reply(ct, &reply);
}

__ipvs_helper int ipvs_helper_skb_ct_confirm(struct sk_buff *skb)
{
	return nf_conntrack_confirm(skb);
}

__ipvs_helper void ipvs_helper_ct_kill(struct net *net, bool ipv6, u8 proto, const u8 *saddr, __be16 sport,
				       const u8 *daddr, __be16 dport)
{
	struct nf_conntrack_tuple tuple = {};
	struct nf_conntrack_tuple_hash *found;

	tuple.src.l3num = ipv6 ? AF_INET6 : AF_INET;
	tuple.dst.protonum = proto;
	tuple.dst.dir = IP_CT_DIR_ORIGINAL;
	ct_set_peer(&tuple.src.u3, &tuple.src.u.all, proto, saddr, sport);
	ct_set_peer(&tuple.dst.u3, &tuple.dst.u.all, proto, daddr, dport);
	found = nf_conntrack_find_get(net, &nf_ct_zone_dflt, &tuple);
	if (found) {
		struct nf_conn *ct = nf_ct_tuplehash_to_ctrack(found);

		nf_ct_kill(ct);
		nf_ct_put(ct);
	}
}

__ipvs_helper void ipvs_helper_skb_orphan(struct sk_buff *skb)
{
	skb_orphan(skb);
}

__ipvs_helper int ipvs_helper_ip_defrag4(struct net *net, struct sk_buff *skb, int where)
{
	int err;

	local_bh_disable();
	err = ip_defrag(net, skb, where == 0 ? IP_DEFRAG_VS_IN :
				  where == 1 ? IP_DEFRAG_VS_OUT : IP_DEFRAG_VS_FWD);
	local_bh_enable();
	if (!err)
		ip_send_check(ip_hdr(skb));
	return err;
}

__ipvs_helper void ipvs_helper_kfree_skb(struct sk_buff *skb)
{
	kfree_skb(skb);
}

__ipvs_helper void ipvs_helper_skb_send4(struct net *net, struct sk_buff *skb)
{
	skb_forward_csum(skb);
	if (skb->dev)
		skb_clear_tstamp(skb);
	NF_HOOK(NFPROTO_IPV4, NF_INET_LOCAL_OUT, net, NULL, skb, NULL, skb_dst(skb)->dev, dst_output);
}

__ipvs_helper void ipvs_helper_skb_tell_socket_mtu(struct sk_buff *skb, u32 mtu)
{
	struct dst_entry *dst = skb_dst(skb);

	if (sk_fullsock(skb->sk))
		dst->ops->update_pmtu(dst, skb->sk, NULL, mtu, true);
}

__ipvs_helper void ipvs_helper_skb_consume(struct sk_buff *skb)
{
	consume_skb(skb);
}

/* ---- tunnels ---- */
__ipvs_helper int ipvs_helper_skb_begin_tunnel(struct sk_buff *skb, int gso_type, u8 proto)
{
	int err = iptunnel_handle_offloads(skb, gso_type);

	if (err)
		return err;
	skb->transport_header = skb->network_header;
	skb_set_inner_ipproto(skb, proto);
	/* Who splits it into segments takes the tunnel's headers for what is before this. */
	skb_set_inner_mac_header(skb, skb_inner_network_offset(skb));
	return 0;
}

__ipvs_helper u16 ipvs_helper_skb_flow_port(struct net *net, struct sk_buff *skb)
{
	return (__force u16)udp_flow_src_port(net, skb, 0, 0, false);
}

/* Start of the checksummed part << 16 | offset of the checksum in it; negative if before the data. */
__ipvs_helper s64 ipvs_helper_skb_partial_checksum(const struct sk_buff *skb)
{
	int start = skb_checksum_start_offset(skb);

	return start < 0 ? -1 : (s64)(u16)start << 16 | skb->csum_offset;
}

__ipvs_helper void ipvs_helper_skb_leave_checksum(struct sk_buff *skb)
{
	if (!skb_is_gso(skb)) {
		skb->ip_summed = CHECKSUM_NONE;
		skb->encapsulation = 0;
	}
}

__ipvs_helper void ipvs_helper_skb_udp_checksum4(struct sk_buff *skb, bool nocheck, u32 saddr, u32 daddr)
{
	udp_set_csum(nocheck, skb, (__force __be32)saddr, (__force __be32)daddr, skb->len);
}

__ipvs_helper int ipvs_helper_skb_push_gre(struct sk_buff *skb, bool csum, bool ipv6)
{
	IP_TUNNEL_DECLARE_FLAGS(flags) = { };
	int len;

	if (csum)
		__set_bit(IP_TUNNEL_CSUM_BIT, flags);
	len = gre_calc_hlen(flags);
	if (skb_headroom(skb) < len)
		return -ENOBUFS;
	gre_build_header(skb, len, flags, ipv6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP), 0, 0);
	return 0;
}

__ipvs_helper void ipvs_helper_skb_udp_checksum6(struct sk_buff *skb, bool nocheck, const u32 *saddr, const u32 *daddr)
{
	struct in6_addr s, d;

	memcpy(&s, saddr, sizeof(s));
	memcpy(&d, daddr, sizeof(d));
	udp6_set_csum(nocheck, skb, &s, &d, skb->len);
}

/* The IPv6 header lacks its length. */
__ipvs_helper void ipvs_helper_skb_send_tunnel6(struct net *net, struct sk_buff *skb)
{
	memset(&IPCB(skb)->opt, 0, sizeof(IPCB(skb)->opt));
	skb->ignore_df = 1;
	nf_reset_ct(skb);
	skb_forward_csum(skb);
	if (skb->dev)
		skb_clear_tstamp(skb);
	ip6_local_out(net, skb->sk, skb);
}

/* The IPv4 header lacks its length, identification and checksum. */
__ipvs_helper void ipvs_helper_skb_send_tunnel4(struct net *net, struct sk_buff *skb)
{
	/* Options of the packet inside are not those of this one. */
	memset(&IPCB(skb)->opt, 0, sizeof(IPCB(skb)->opt));
	ip_select_ident(net, skb, NULL);
	skb->ignore_df = 1;
	nf_reset_ct(skb);
	skb_forward_csum(skb);
	if (skb->dev)
		skb_clear_tstamp(skb);
	ip_local_out(net, skb->sk, skb);
}

__ipvs_helper bool ipvs_helper_skb_strip4(struct sk_buff *skb, u32 len, u32 header)
{
	if (!pskb_pull(skb, len))
		return false;
	skb_reset_network_header(skb);
	memset(&IPCB(skb)->opt, 0, sizeof(IPCB(skb)->opt));
	if (!pskb_may_pull(skb, header))
		return false;
	skb_set_transport_header(skb, header);
	return true;
}

/* ---- routes ---- */
__ipvs_helper void *ipvs_helper_route_output4(struct net *net, u32 daddr, bool known_nexthop, bool bind, u32 *saddr)
{
	struct flowi4 fl4 = {
		.daddr = (__force __be32)daddr,
		.flowi4_flags = known_nexthop ? FLOWI_FLAG_KNOWN_NH : 0,
	};
	struct rtable *rt = ip_route_output_key(net, &fl4);

	if (bind && !IS_ERR(rt) && fl4.saddr) {
		ip_rt_put(rt);
		flowi4_update_output(&fl4, 0, fl4.daddr, fl4.saddr);
		rt = ip_route_output_key(net, &fl4);
	}
	*saddr = (__force u32)fl4.saddr;
	return IS_ERR(rt) ? NULL : rt;
}

__ipvs_helper u32 ipvs_helper_dst_mtu4(const struct dst_entry *dst)
{
	return dst4_mtu(dst);
}

__ipvs_helper u32 ipvs_helper_dst_header_room(const struct dst_entry *dst)
{
	return rcu_dereference(dst->dev_rcu)->hard_header_len;
}

__ipvs_helper u32 ipvs_helper_dst_reserved_room(const struct dst_entry *dst)
{
	return LL_RESERVED_SPACE(rcu_dereference(dst->dev_rcu));
}

__ipvs_helper bool ipvs_helper_dst_dev_down(const struct dst_entry *dst)
{
	const struct net_device *dev = rcu_dereference(dst->dev_rcu);

	return dev && !netif_running(dev);
}

__ipvs_helper int ipvs_helper_dst_ifindex(const struct dst_entry *dst)
{
	const struct net_device *dev = rcu_dereference(dst->dev_rcu);

	return dev ? dev->ifindex : 0;
}

/* ---- IPv6 ---- */
__ipvs_helper void *ipvs_helper_route_output6(struct net *net, const u32 *daddr, bool transform, bool known_nexthop,
					      u32 *saddr, u32 *cookie, bool *local)
{
	struct flowi6 fl6 = { .flowi6_flags = known_nexthop ? FLOWI_FLAG_KNOWN_NH : 0 };
	struct dst_entry *dst;
	struct net_device *dev;

	memcpy(&fl6.daddr, daddr, sizeof(fl6.daddr));
	dst = ip6_route_output(net, NULL, &fl6);
	if (dst->error)
		goto out;
	if (ipv6_addr_any(&fl6.saddr) &&
	    ipv6_dev_get_saddr(net, ip6_dst_idev(dst)->dev, &fl6.daddr, 0, &fl6.saddr) < 0)
		goto out;
	if (transform) {
		dst = xfrm_lookup(net, dst, flowi6_to_flowi(&fl6), NULL, 0);
		if (IS_ERR(dst))
			return NULL;
	}
	memcpy(saddr, &fl6.saddr, sizeof(fl6.saddr));
	*cookie = rt6_get_cookie(dst_rt6_info(dst));
	rcu_read_lock();
	dev = dst_dev_rcu(dst);
	*local = dev && dev->flags & IFF_LOOPBACK;
	rcu_read_unlock();
	return dst;
out:
	dst_release(dst);
	return NULL;
}

__ipvs_helper bool ipvs_helper_dst_check6(struct dst_entry *dst, u32 cookie)
{
	return !READ_ONCE(dst->obsolete) || INDIRECT_CALL_1(dst->ops->check, ip6_dst_check, dst, cookie);
}

__ipvs_helper u32 ipvs_helper_dst_mtu6(const struct dst_entry *dst)
{
	return INDIRECT_CALL_1(dst->ops->mtu, ip6_mtu, dst);
}

/* 0: nothing a server could have, 1: some host, 2: this host */
__ipvs_helper int ipvs_helper_addr_type6(struct net *net, const u32 *addr)
{
	struct flowi6 fl6 = {};
	struct dst_entry *dst;
	bool local;
	int type;

	memcpy(&fl6.daddr, addr, sizeof(fl6.daddr));
	type = ipv6_addr_type(&fl6.daddr);
	if (type & IPV6_ADDR_UNICAST && !(type & IPV6_ADDR_LINKLOCAL))
		return 1;
	dst = ip6_route_output(net, NULL, &fl6);
	rcu_read_lock();
	local = !dst->error && dst_dev_rcu(dst) && dst_dev_rcu(dst)->flags & IFF_LOOPBACK;
	rcu_read_unlock();
	dst_release(dst);
	return local ? 2 : 0;
}

__ipvs_helper bool ipvs_helper_skb_checksum_right6(struct sk_buff *skb, u32 offset, u8 proto)
{
	return skb_csum_unnecessary(skb) || !skb->dev ||
	       !nf_checksum(skb, NF_INET_LOCAL_IN, offset, proto, AF_INET6);
}

__ipvs_helper void ipvs_helper_skb_checksum_partial(struct sk_buff *skb, u32 start, u16 at)
{
	skb->csum_start = skb_headroom(skb) + start;
	skb->csum_offset = at;
	skb->ip_summed = CHECKSUM_PARTIAL;
}

__ipvs_helper int ipvs_helper_skb_reroute6(struct net *net, struct sk_buff *skb)
{
	const struct net_device *dev = skb_dst(skb)->dev;

	return dev && !(dev->flags & IFF_LOOPBACK) ? ip6_route_me_harder(net, skb->sk, skb) : 0;
}

__ipvs_helper bool ipvs_helper_skb_route_loopback(const struct sk_buff *skb)
{
	const struct net_device *dev = skb_dst(skb)->dev;

	return dev && dev->flags & IFF_LOOPBACK;
}

__ipvs_helper int ipvs_helper_skb_decrement_ttl6(struct sk_buff *skb)
{
	int err = skb_ensure_writable(skb, sizeof(struct ipv6hdr));

	if (!err)
		ipv6_hdr(skb)->hop_limit--;
	return err;
}

__ipvs_helper void ipvs_helper_icmp_send6(struct net *net, struct sk_buff *skb, u8 type, u8 code, u32 info)
{
	if (!skb->dev)
		skb->dev = net->loopback_dev;
	icmpv6_send(skb, type, code, info);
}

__ipvs_helper void ipvs_helper_icmp_send6_hop_limit(struct net *net, struct sk_buff *skb)
{
	struct inet6_dev *idev = __in6_dev_get_safely(skb->dev);

	/* The address of the way out becomes the source. */
	skb->dev = skb_dst(skb)->dev;
	icmpv6_send(skb, ICMPV6_TIME_EXCEED, ICMPV6_EXC_HOPLIMIT, 0);
	IP6_INC_STATS(net, idev, IPSTATS_MIB_INHDRERRORS);
}

__ipvs_helper void ipvs_helper_skb_send6(struct net *net, struct sk_buff *skb)
{
	skb_forward_csum(skb);
	if (skb->dev)
		skb_clear_tstamp(skb);
	NF_HOOK(NFPROTO_IPV6, NF_INET_LOCAL_OUT, net, NULL, skb, NULL, skb_dst(skb)->dev, dst_output);
}

/* ---- counters ---- */
/* Rust has plain pointers; the way over a number keeps the compiler from minding. */
#define PERCPU(p) ((u64 __percpu *)(__force unsigned long)(p))

__ipvs_helper void *ipvs_helper_percpu_alloc(size_t size)
{
	return (void *)(__force unsigned long)__alloc_percpu(size, sizeof(u64));
}

__ipvs_helper void ipvs_helper_percpu_free(void *p)
{
	free_percpu((void __percpu *)(__force unsigned long)p);
}

__ipvs_helper void *ipvs_helper_percpu_ptr(void *p, u32 cpu)
{
	return cpu < nr_cpu_ids && cpu_possible(cpu) ? per_cpu_ptr((void __percpu *)(__force unsigned long)p, cpu) : NULL;
}

static __always_inline void percpu_sum(const u64 *p, u64 *sum, size_t n)
{
	unsigned int cpu;
	size_t i;

	/* Mostly without holes: testing a bit costs less than searching for the next one. */
	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		const u64 *v;

		if (!cpu_possible(cpu))
			continue;
		v = per_cpu_ptr(PERCPU(p), cpu);
		for (i = 0; i < n; i++)
			sum[i] += READ_ONCE(v[i]);
	}
}

__ipvs_helper void ipvs_helper_percpu_sum(const u64 *p, u64 *sum, size_t n)
{
	/* Unrolled where there are many of them. */
	if (n == 5)
		percpu_sum(p, sum, 5);
	else
		percpu_sum(p, sum, n);
}

/*
 * Of many sets in a row: without checks of bounds, which the condition of the loop makes needless, it saves and restores
 * no registers.
 */
__ipvs_helper __no_sanitize_undefined u64 ipvs_helper_percpu_total5(const u64 *p)
{
	u64 sum = 0;
	unsigned int cpu;

	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
		const u64 *v;

		if (!cpu_possible(cpu))
			continue;
		v = per_cpu_ptr(PERCPU(p), cpu);
		sum += READ_ONCE(v[0]) + READ_ONCE(v[1]) + READ_ONCE(v[2]) + READ_ONCE(v[3]) + READ_ONCE(v[4]);
	}
	return sum;
}

__ipvs_helper void ipvs_helper_percpu_inc3(u64 *a, u64 *b, u64 *c)
{
	this_cpu_inc(*PERCPU(a));
	this_cpu_inc(*PERCPU(b));
	this_cpu_inc(*PERCPU(c));
}

__ipvs_helper void ipvs_helper_percpu_count3(u64 *a, u64 *b, u64 *c, u32 bytes)
{
	this_cpu_inc(PERCPU(a)[0]);
	this_cpu_add(PERCPU(a)[1], bytes);
	this_cpu_inc(PERCPU(b)[0]);
	this_cpu_add(PERCPU(b)[1], bytes);
	this_cpu_inc(PERCPU(c)[0]);
	this_cpu_add(PERCPU(c)[1], bytes);
}

/* ---- locks and work ---- */
__ipvs_helper void ipvs_helper_spin_lock_init(spinlock_t *lock)
{
	spin_lock_init(lock);
}

__ipvs_helper void ipvs_helper_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

__ipvs_helper void ipvs_helper_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

__ipvs_helper void ipvs_helper_delayed_work_init(struct delayed_work *w, void (*fn)(struct work_struct *))
{
	INIT_DELAYED_WORK(w, fn);
}

__ipvs_helper bool ipvs_helper_delayed_work_queue(struct delayed_work *w, unsigned long delay)
{
	return queue_delayed_work(system_dfl_long_wq, w, delay);
}

__ipvs_helper bool ipvs_helper_delayed_work_stop(struct delayed_work *w)
{
	return disable_delayed_work_sync(w);
}

/* ---- threads ---- */
__ipvs_helper struct task_struct *ipvs_helper_kthread_create(int (*fn)(void *), void *data, const char *name)
{
	struct task_struct *task = kthread_create(fn, data, "%s", name);

	return IS_ERR(task) ? task : get_task_struct(task);
}

__ipvs_helper void ipvs_helper_kthread_sleep(long jiffies)
{
	set_current_state(TASK_IDLE);
	if (!kthread_should_stop())
		schedule_timeout(jiffies);
	__set_current_state(TASK_RUNNING);
}

__ipvs_helper u64 ipvs_helper_current_runtime(void)
{
	return current->se.sum_exec_runtime;
}

/* ---- sets of CPUs ---- */
__ipvs_helper struct cpumask *ipvs_helper_cpulist_alloc(void)
{
	return kzalloc(cpumask_size(), GFP_KERNEL);
}

__ipvs_helper int ipvs_helper_cpulist_parse(const char *text, struct cpumask *mask)
{
	int err = cpulist_parse(text, mask);

	if (!err)
		cpumask_and(mask, mask, &current->cpus_mask);
	return err;
}

__ipvs_helper unsigned int ipvs_helper_cpulist_weight(const struct cpumask *mask)
{
	unsigned int weight;

	rcu_read_lock();
	weight = cpumask_weight(mask ?: housekeeping_cpumask(HK_TYPE_KTHREAD));
	rcu_read_unlock();
	return weight;
}

__ipvs_helper int ipvs_helper_cpulist_print(const struct cpumask *mask, char *buf, size_t size)
{
	int len;

	rcu_read_lock();
	mask = mask ?: housekeeping_cpumask(HK_TYPE_KTHREAD);
	len = scnprintf(buf, size, "%*pbl\n", cpumask_pr_args(mask));
	rcu_read_unlock();
	return len;
}

/* ---- namespaces, devices ---- */
__ipvs_helper void *ipvs_helper_net_generic(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

__ipvs_helper struct net_device *ipvs_helper_notifier_dev(void *info)
{
	return netdev_notifier_info_to_dev(info);
}

__ipvs_helper const char *ipvs_helper_dev_name(const struct net_device *dev)
{
	return dev->name;
}

__ipvs_helper int ipvs_helper_dev_ifindex(const struct net_device *dev)
{
	return READ_ONCE(dev->ifindex);
}

__ipvs_helper struct net *ipvs_helper_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}

/* ---- generic netlink ---- */
__ipvs_helper struct sk_buff *ipvs_helper_nlmsg_new_default(void)
{
	return nlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
}

__ipvs_helper int ipvs_helper_genlmsg_reply(struct sk_buff *skb, struct genl_info *info)
{
	return genlmsg_reply(skb, info);
}

__ipvs_helper int ipvs_helper_genlmsg_parse_liberal(const struct nlmsghdr *nlh, struct nlattr **attrs, int maxattr,
						   const struct nla_policy *policy, struct netlink_ext_ack *extack)
{
	return nlmsg_parse_deprecated(nlh, GENL_HDRLEN, attrs, maxattr, policy, extack);
}

/* What is free of a buffer. */
__ipvs_helper void *ipvs_helper_skb_room(struct sk_buff *skb, size_t *len)
{
	*len = skb_tailroom(skb);
	return skb_tail_pointer(skb);
}

/* ---- the rest ---- */
struct knet_debug_switch ipvs_helper_debug_switch = { .key = STATIC_KEY_FALSE_INIT };

__ipvs_helper void ipvs_helper_debug_set(bool on)
{
	if (on)
		static_branch_enable(&ipvs_helper_debug_switch.key);
	else
		static_branch_disable(&ipvs_helper_debug_switch.key);
}

__ipvs_helper int ipvs_helper_net_ratelimit(void)
{
	return net_ratelimit();
}

__ipvs_helper bool ipvs_helper_port_requires_bind_service(struct net *net, u16 port)
{
	return inet_port_requires_bind_service(net, port);
}

__ipvs_helper bool ipvs_helper_has_ipv6(void)
{
	return ipv6_mod_enabled();
}

__ipvs_helper struct net *ipvs_helper_sock_net(struct sock *sk)
{
	return sock_net(sk);
}

__ipvs_helper int ipvs_helper_copy_from_sockptr(void *to, sockptr_t from, size_t size)
{
	return copy_from_sockptr(to, from, size) ? -EFAULT : 0;
}

__ipvs_helper u32 ipvs_helper_total_ram_bits(void)
{
	return order_base_2(totalram_pages()) + PAGE_SHIFT;
}

__ipvs_helper u64 ipvs_helper_free_and_buffer_pages(void)
{
	struct sysinfo i;

	si_meminfo(&i);
	return (u64)i.freeram + i.bufferram;
}
