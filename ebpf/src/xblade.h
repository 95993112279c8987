/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Shared by the XDP program and user space. src/lib.rs mirrors every line, and
 * a test there reads this file: change both together. */
#ifndef XBLADE_H
#define XBLADE_H

/* Indices into the map `counters`. Each AoE frame increments exactly one. The
 * drops are in the order of the checks: if several apply, the first counts. */
enum xblade_counter {
	XBLADE_REDIRECTED,	 /* redirected to a socket of its queue */
	XBLADE_NO_SOCKET,	 /* passed to the stack: its queue has no socket */
	XBLADE_SHORT,		 /* dropped: shorter than the AoE header */
	XBLADE_VERSION,		 /* dropped: AoE version other than 1 */
	XBLADE_RESPONSE,	 /* dropped: a reply, which a target never answers */
	XBLADE_SOURCE_MULTICAST, /* dropped: source multicast or broadcast */
	XBLADE_SOURCE_ZERO,	 /* dropped: source 00:00:00:00:00:00 */
	XBLADE_SOURCE_OWN,	 /* dropped: source is our own address */
	XBLADE_DESTINATION,	 /* dropped: destination neither ours nor broadcast */
	XBLADE_ACL,		 /* dropped: source not on the access list */
	XBLADE_OVER_SHARE,	 /* dropped: its host has used up its share of the ring */
	XBLADE_COUNTERS
};

/* The only value in the map `settings`. Eight bytes, so that one load reads all
 * of it and no frame sees a half-written change. */
struct xblade_settings {
	__u8 own[6]; /* our MAC address */
	__u8 acl_on; /* not 0: sources must be in the map `acl` */
	__u8 workers; /* number of sockets a queue may have besides its first */
};

/* The metadata of each frame redirected to a socket, directly before the frame's
 * first byte. `check` distinguishes it from other data there. */
struct xblade_stamp {
	__u64 ns; /* CLOCK_MONOTONIC, when the driver was polled */
	__u64 check; /* ~ns */
};

/* A bucket of the table of hosts. A key is a source address in wire order in its
 * lower 48 bits, and the VLAN of the outer tag above; 0 is a free entry. */
struct xblade_bucket {
	__u64 keys[8]; /* a cache line */
};

#define XBLADE_HOST_BUCKETS 64
#define XBLADE_HOST_WAYS 8
/* An index for each entry of the table, and one for all other hosts. */
#define XBLADE_HOST_INDICES (XBLADE_HOST_BUCKETS * XBLADE_HOST_WAYS + 1)

#define XBLADE_ACL_MAX 4096
#define XBLADE_OWNERS_MAX 4096

#endif
