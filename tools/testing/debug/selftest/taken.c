// SPDX-License-Identifier: GPL-2.0
/* Has what ip_vs wants: a name, or net->ipvs, in the namespace of who loads this. See taken.py. */
#include <linux/module.h>
#include <linux/netfilter.h>
#include <linux/nsproxy.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sched.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>

static char *what = "";
module_param(what, charp, 0);
static char *name = "";
module_param(name, charp, 0);

static struct net *net;
static struct ctl_table_header *header;
static int value;
static struct ctl_table table[] = {
	{ .mode = 0444, .data = &value, .maxlen = sizeof(value), .proc_handler = proc_dointvec }
};
static struct genl_family family = { .name = "IPVS", .version = 1, .module = THIS_MODULE };
static struct nf_sockopt_ops options = {
	.pf = PF_INET,
	.get_optmin = 64 + 1024 + 64,
	.get_optmax = 64 + 1024 + 64 + 1,
	.owner = THIS_MODULE,
};

static int show(struct seq_file *m, void *v)
{
	return 0;
}

static int __init taken_init(void)
{
	net = current->nsproxy->net_ns;
	if (!strcmp(what, "file"))
		return proc_create_single(name, 0444, net->proc_net, show) ? 0 : -ENOMEM;
	if (!strcmp(what, "sysctl")) {
		table[0].procname = name;
		header = register_net_sysctl_sz(net, "net/ipv4/vs", table, 1);
		return header ? 0 : -ENOMEM;
	}
	if (!strcmp(what, "family"))
		return genl_register_family(&family);
	if (!strcmp(what, "options"))
		return nf_register_sockopt(&options);
	if (!strcmp(what, "net")) {
		net->ipvs = (void *)&what;
		return 0;
	}
	return -EINVAL;
}

static void __exit taken_exit(void)
{
	if (!strcmp(what, "file"))
		remove_proc_entry(name, net->proc_net);
	if (header)
		unregister_net_sysctl_table(header);
	if (!strcmp(what, "family"))
		genl_unregister_family(&family);
	if (!strcmp(what, "options"))
		nf_unregister_sockopt(&options);
	if (!strcmp(what, "net"))
		net->ipvs = NULL;
}
module_init(taken_init);
module_exit(taken_exit);

MODULE_DESCRIPTION("Names that ip_vs wants are taken");
MODULE_LICENSE("GPL");
