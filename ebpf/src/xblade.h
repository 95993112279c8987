/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the XDP program and user space share. src/lib.rs mirrors every line of
 * it, and a test there reads this file: change both together. */
#ifndef XBLADE_H
#define XBLADE_H

/* Indices into the map `counters`. Each AoE frame adds one to exactly one of
 * them. The drops stand in the order in which they are looked for, so a frame
 * with several faults is counted under the first. */
enum xblade_counter {
	XBLADE_REDIRECTED,	 /* handed to a socket of its queue */
	XBLADE_NO_SOCKET,	 /* passed to the stack: its queue has no socket */
	XBLADE_SHORT,		 /* dropped: ends before its AoE header does */
	XBLADE_VERSION,		 /* dropped: AoE version other than 1 */
	XBLADE_RESPONSE,	 /* dropped: a reply, and a target answers none */
	XBLADE_SOURCE_MULTICAST, /* dropped: source multicast or broadcast */
	XBLADE_SOURCE_ZERO,	 /* dropped: source 00:00:00:00:00:00 */
	XBLADE_SOURCE_OWN,	 /* dropped: source is our own address */
	XBLADE_DESTINATION,	 /* dropped: destination neither ours nor broadcast */
	XBLADE_ACL,		 /* dropped: source not on the access list */
	XBLADE_COUNTERS
};

/* The only value in the map `settings`. Eight bytes, so that one load sees one
 * state: no frame is judged by half of a change. */
struct xblade_settings {
	__u8 own[6]; /* our MAC address */
	__u8 acl_on; /* not 0: sources must be in the map `acl` */
	__u8 workers; /* each queue may have so many sockets besides its first */
};

/* The metadata of each frame that goes to a socket: it lies directly before the
 * frame's first byte. `check` tells it from whatever else lies there. */
struct xblade_stamp {
	__u64 ns; /* CLOCK_MONOTONIC, when the driver was polled */
	__u64 check; /* ~ns */
};

#define XBLADE_ACL_MAX 4096
#define XBLADE_OWNERS_MAX 4096

#endif
