// SPDX-License-Identifier: GPL-2.0 OR MIT
/* AoE responses to tags with bit 31 go to the generator's socket; every other
 * frame goes to the stack. The Linux initiator never uses bit 31, so both can
 * share an interface. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AOE_RESPONSE 0x08
#define TAG_USER     0x80

struct aoe_frame {
	struct ethhdr eth;
	__u8 version_flags;
	__u8 error;
	__u8 address_command[4];
	__u8 tag[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} lanes SEC(".maps");

SEC("xdp.frags")
int initiator(struct xdp_md *ctx)
{
	const void *end = (const void *)(long)ctx->data_end;
	const struct aoe_frame *frame = (const void *)(long)ctx->data;

	if ((const void *)(frame + 1) > end)
		return XDP_PASS;
	if (frame->eth.h_proto != bpf_htons(ETH_P_AOE))
		return XDP_PASS;
	if (!(frame->version_flags & AOE_RESPONSE) || !(frame->tag[0] & TAG_USER))
		return XDP_PASS;
	return bpf_redirect_map(&lanes, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
