// SPDX-License-Identifier: GPL-2.0
/* What the checkers must see. Never stays loaded; see selftest.py. */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>

static char *what = "";
module_param(what, charp, 0);

static DEFINE_SPINLOCK(a);
static DEFINE_SPINLOCK(b);
static int __rcu *pointer;

struct object {
	struct timer_list timer;
	char data[200];
};

static void nothing(struct timer_list *t)
{
}

static int __init bad_init(void)
{
	struct object *o = kzalloc(sizeof(*o), GFP_KERNEL);

	if (!o)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(o);
	if (!strcmp(what, "leak")) {
		for (int i = 0; i < 20; i++) { /* one may stay on a stack */
			o = kzalloc(sizeof(*o), GFP_KERNEL);
			OPTIMIZER_HIDE_VAR(o);
		}
		return -ENODEV;
	}
	if (!strcmp(what, "timer")) {
		timer_setup(&o->timer, nothing, 0);
		mod_timer(&o->timer, jiffies + HZ);
	}
	if (!strcmp(what, "sleep")) {
		spin_lock(&a);
		might_sleep();
		spin_unlock(&a);
	}
	if (!strcmp(what, "rcu"))
		pr_info("%p\n", rcu_dereference(pointer));
	if (!strcmp(what, "locks")) {
		spin_lock(&a);
		spin_lock(&b);
		spin_unlock(&b);
		spin_unlock(&a);
		spin_lock(&b);
		spin_lock(&a);
		spin_unlock(&a);
		spin_unlock(&b);
	}
	kfree(o);
	if (!strcmp(what, "use"))
		pr_info("%d\n", READ_ONCE(o->data[5]));
	return -ENODEV;
}
module_init(bad_init);

MODULE_DESCRIPTION("Mistakes for the checkers of a debug kernel");
MODULE_LICENSE("GPL");
