// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU plugin of bench/profile: counts the executions of each translation block of the guest's kernel between two marks
 * (programs at addresses of their own, see profile) and appends them to the file BENCH_COUNTS names.
 * The prototypes are those of qemu-plugin.h, which Debian does not package.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef void (*tb_exec_cb)(unsigned int vcpu, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, tb_exec_cb cb, int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = API;

struct block {
	struct block *next;
	uint64_t addr, insns, times;
};
static struct block *blocks;
static int counting;

static void executed(unsigned int vcpu, void *data)
{
	((struct block *)data)->times += counting;
}

static void start(unsigned int vcpu, void *data)
{
	for (struct block *b = blocks; b; b = b->next)
		b->times = 0;
	counting = 1;
}

static void stop(unsigned int vcpu, void *data)
{
	FILE *f = fopen(getenv("BENCH_COUNTS"), "a");

	counting = 0;
	if (!f)
		return;
	for (struct block *b = blocks; b; b = b->next)
		if (b->times)
			fprintf(f, "%llx %llu %llu\n", (unsigned long long)b->addr, (unsigned long long)b->insns,
				(unsigned long long)b->times);
	fprintf(f, "end\n");
	fclose(f);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t addr = qemu_plugin_tb_vaddr(tb);
	tb_exec_cb cb = addr == START ? start : addr == STOP ? stop : addr >> 63 ? executed : NULL;
	struct block *b = NULL;

	if (!cb)
		return;
	if (cb == executed) {
		b = malloc(sizeof(*b));
		if (!b)
			abort();
		*b = (struct block){ blocks, addr, qemu_plugin_tb_n_insns(tb), 0 };
		blocks = b;
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, cb, 0, b);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	if (!getenv("BENCH_COUNTS"))
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
