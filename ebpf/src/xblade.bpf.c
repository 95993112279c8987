// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The XDP program. It redirects AoE requests for us to a socket of their queue
 * and drops AoE frames that no target may answer, before they use up a ring
 * slot. Every other frame goes to the stack untouched and uncounted.
 *
 * An interface with this program can only be an AoE target: an AoE initiator on
 * the same interface of this host would never see its replies. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "xblade.h"

#define AOE_VERSION  0x10
#define AOE_RESPONSE 0x08
#define TAGS_MAX     2

/* Follows the EtherType. Only user space reads `rest`. */
struct aoe_header {
	__u8 version_flags;
	__u8 error;
	__u8 shelf[2]; /* big endian */
	__u8 slot;
	__u8 rest[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64); /* user space sets it: queues * (1 + workers) */
	__type(key, __u32);
	__type(value, __u32);
} lanes SEC(".maps");

/* shelf << 8 | slot -> worker that owns the export. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XBLADE_OWNERS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XBLADE_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XBLADE_ACL_MAX);
	__type(key, __u8[6]);
	__type(value, __u8);
} acl SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xblade_settings);
} settings SEC(".maps");

/* The hosts of the interface. User space enters them, through its mapping of the
 * map; the program only reads. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, XBLADE_HOST_BUCKETS);
	__type(key, __u32);
	__type(value, struct xblade_bucket);
} hosts SEC(".maps");

/* For each lane and host, index lane * XBLADE_HOST_INDICES + host: what was
 * redirected so far, counted here, and up to which count user space allows it; 0
 * is no limit. User space maps both. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64); /* user space sets it */
	__type(key, __u32);
	__type(value, __u64);
} admitted SEC(".maps"), limits SEC(".maps");

/* Odd, and not known to the hosts. User space sets it. */
const volatile __u64 host_seed = 1;

static __always_inline int count(__u32 counter, int action)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += 1;
	return action;
}

static __always_inline int drop(__u32 counter)
{
	return count(counter, XDP_DROP);
}

static __always_inline int is_tag(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

/* The AoE header, or NULL if the frame is not AoE after at most TAGS_MAX tags.
 * Sets `vlan` to that of the outer tag.
 * Headers are always in the linear part of a frame, even if it has several
 * fragments, so plain loads reach them. */
static __always_inline const struct aoe_header *aoe_at(const struct ethhdr *eth,
							const void *end,
							__u16 *vlan)
{
	const __be16 *type = (const void *)eth + 2 * ETH_ALEN;

	if ((const void *)(type + 1) > end)
		return NULL;
#pragma unroll
	for (int tags = 0; tags < TAGS_MAX; tags++) {
		if (!is_tag(*type))
			break;
		type += 2; /* skip the tag control field */
		if ((const void *)(type + 1) > end)
			return NULL;
		if (tags == 0)
			*vlan = bpf_ntohs(type[-1]) & 0x0fff;
	}
	if (*type != bpf_htons(ETH_P_AOE))
		return NULL;
	return (const void *)(type + 1);
}

static __always_inline __u64 address(const __u8 *bytes)
{
	__u64 value = 0;

	__builtin_memcpy(&value, bytes, ETH_ALEN);
	return value;
}

/* Prepares the redirection to the socket that the owner of the export has on this
 * queue, or else to the first socket of the queue. Returns the index of the
 * socket, or a negative value if there is none; the helper looks that up. */
static __always_inline int lane_of(const struct aoe_header *aoe, __u32 queue,
				   __u32 workers)
{
	__u32 first = queue * (1 + workers);
	__u32 address = aoe->shelf[0] << 16 | aoe->shelf[1] << 8 | aoe->slot;
	const __u32 *owner = workers ? bpf_map_lookup_elem(&owners, &address) : NULL;

	if (owner && *owner < workers &&
	    bpf_redirect_map(&lanes, first + 1 + *owner, XDP_PASS) == XDP_REDIRECT)
		return first + 1 + *owner;
	return bpf_redirect_map(&lanes, first, XDP_PASS) == XDP_REDIRECT ? (int)first : -1;
}

/* The index of a host in the table, or that of all hosts that are not in it. */
static __always_inline __u32 index_of(__u64 key)
{
	__u32 bucket = key * host_seed / (~0ULL / XBLADE_HOST_BUCKETS + 1);
	const struct xblade_bucket *entries = bpf_map_lookup_elem(&hosts, &bucket);

	if (entries) {
#pragma unroll
		for (int at = 0; at < XBLADE_HOST_WAYS; at++)
			if (*(const volatile __u64 *)&entries->keys[at] == key)
				return bucket * XBLADE_HOST_WAYS + at;
	}
	return XBLADE_HOST_INDICES - 1;
}

/* Whether a host may have another frame in the ring of this lane. Long frames count
 * more, as they take several descriptors. User space counts in the same way. Only
 * one CPU at a time receives for a lane. */
static __always_inline int may_enter(__u32 lane, __u64 key, __u64 length)
{
	__u32 at = lane * XBLADE_HOST_INDICES + index_of(key);
	__u64 *entered = bpf_map_lookup_elem(&admitted, &at);
	const volatile __u64 *limit = bpf_map_lookup_elem(&limits, &at);

	if (!entered || !limit)
		return 1; /* there is an entry for every lane */
	if (*limit && *entered >= *limit)
		return 0;
	*entered += 1 + (length >> 12);
	return 1;
}

/* Puts the current time before the frame, as metadata, which the kernel copies
 * into the socket's chunk with the frame. Without room for it, the frame goes on
 * without. Invalidates every pointer into the frame. */
static __always_inline void stamp(struct xdp_md *ctx)
{
	struct xblade_stamp *at;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*at)))
		return;
	at = (void *)(long)ctx->data_meta;
	if ((void *)(at + 1) > (void *)(long)ctx->data)
		return;
	at->ns = bpf_ktime_get_ns();
	at->check = ~at->ns;
}

SEC("xdp.frags")
int xblade(struct xdp_md *ctx)
{
	const void *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = (const void *)(long)ctx->data;
	__u16 vlan = 0;
	const struct aoe_header *aoe = aoe_at(eth, end, &vlan);
	const struct xblade_settings *at;
	struct xblade_settings set;
	__u64 source, destination, own;
	__u32 zero = 0;
	int lane;

	if (!aoe)
		return XDP_PASS;
	if ((const void *)(aoe + 1) > end)
		return drop(XBLADE_SHORT);
	if ((aoe->version_flags & 0xf0) != AOE_VERSION)
		return drop(XBLADE_VERSION);
	if (aoe->version_flags & AOE_RESPONSE)
		return drop(XBLADE_RESPONSE);

	at = bpf_map_lookup_elem(&settings, &zero);
	if (!at)
		return XDP_PASS; /* an array always has its entry 0 */
	*(__u64 *)&set = *(const volatile __u64 *)at;
	source = address(eth->h_source);
	destination = address(eth->h_dest);
	own = address(set.own);

	if (eth->h_source[0] & 1)
		return drop(XBLADE_SOURCE_MULTICAST);
	if (!source)
		return drop(XBLADE_SOURCE_ZERO);
	if (source == own)
		return drop(XBLADE_SOURCE_OWN);
	if (destination != own && destination != address((const __u8 *)"\xff\xff\xff\xff\xff\xff"))
		return drop(XBLADE_DESTINATION);
	if (set.acl_on && !bpf_map_lookup_elem(&acl, eth->h_source))
		return drop(XBLADE_ACL);

	lane = lane_of(aoe, ctx->rx_queue_index, set.workers);
	if (lane < 0)
		return count(XBLADE_NO_SOCKET, XDP_PASS);
	if (!may_enter(lane, source | (__u64)vlan << 48, bpf_xdp_get_buff_len(ctx)))
		return drop(XBLADE_OVER_SHARE);
	stamp(ctx);
	return count(XBLADE_REDIRECTED, XDP_REDIRECT);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
