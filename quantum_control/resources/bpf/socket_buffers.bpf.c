// SPDX-License-Identifier: Apache-2.0
// Gives the TCP connections of a cgroup the buffers that a map says. Built by scripts/build-bpf.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SOL_SOCKET 1
#define SO_SNDBUF 7
#define SO_RCVBUF 8

// 64 bits, so that no size that the controller counts in is cut; the kernel itself takes an int.
struct settings {
	__u64 send;	// bytes as SO_SNDBUF takes them; 0 leaves it to the kernel
	__u64 receive;	// bytes as SO_RCVBUF takes them; 0 leaves it to the kernel
};

struct counts {
	__u64 set;	// connections that were given their buffers
	__u64 refused;	// times that the kernel did not take one
};

// As the loader reads it: type, bytes of a key, bytes of a value, entries, flags.
struct map_definition {
	__u32 type, key_size, value_size, max_entries, map_flags;
};

struct map_definition SEC("maps") settings_map = {
	BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct settings), 1, 0,
};

struct map_definition SEC("maps") counts_map = {
	BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct counts), 1, 0,
};

static __always_inline int set(struct bpf_sock_ops *ctx, int option, __u64 bytes)
{
	int value = bytes > 0x7fffffff ? 0x7fffffff : (int)bytes;

	return bytes ? bpf_setsockopt(ctx, SOL_SOCKET, option, &value, sizeof(value)) : 0;
}

SEC("sockops")
int socket_buffers(struct bpf_sock_ops *ctx)
{
	__u32 first = 0;
	struct settings *wanted = bpf_map_lookup_elem(&settings_map, &first);
	struct counts *counts = bpf_map_lookup_elem(&counts_map, &first);
	int refused = 0;

	if (!wanted || !counts)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB: // before the window scale is chosen
		set(ctx, SO_RCVBUF, wanted->receive);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		refused = set(ctx, SO_RCVBUF, wanted->receive);
		refused |= set(ctx, SO_SNDBUF, wanted->send);
		if (refused)
			__sync_fetch_and_add(&counts->refused, 1);
		else if (wanted->send || wanted->receive)
			__sync_fetch_and_add(&counts->set, 1);
		// Once a round trip from here on, so that an open connection follows what it may hold for sending.
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		if (set(ctx, SO_SNDBUF, wanted->send))
			__sync_fetch_and_add(&counts->refused, 1);
		break;
	}
	return 1;
}

char _license[] SEC("license") = "Apache-2.0";
