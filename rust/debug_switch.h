/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KNET_DEBUG_SWITCH_H
#define KNET_DEBUG_SWITCH_H
#include <linux/jump_label.h>

/* The kernel's macro for static branches in Rust wants the key in a struct. */
struct knet_debug_switch {
	struct static_key_false key;
};
extern struct knet_debug_switch ipvs_helper_debug_switch;
#endif
