// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Counts the system calls of a process, and adds up the time that its threads spend in user
 * mode: between the end of a call and the next one, while they run, without softirqs. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Entries of the map `counts`: the process, then what is counted. As in tracer.rs. */
enum { PROCESS, CALLS, USER_NS, ENTRIES };

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

struct thread {
	/* Since when it has been in user mode; 0 if it is not. */
	__u64 user_since;
	__u64 in_call;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* Those that have made a call: not the threads of io_uring, which have no user mode. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct thread);
} threads SEC(".maps");

static __always_inline void add(__u32 what, __u64 more)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &what);

	if (value)
		__sync_fetch_and_add(value, more);
}

static __always_inline int is_process(void)
{
	__u32 process = PROCESS;
	__u64 *value = bpf_map_lookup_elem(&counts, &process);

	return value && *value == bpf_get_current_pid_tgid() >> 32;
}

static __always_inline struct thread *current_thread(void)
{
	__u32 id = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&threads, &id);
}

static __always_inline void enter_user(struct thread *thread)
{
	if (thread && !thread->in_call)
		thread->user_since = bpf_ktime_get_ns();
}

static __always_inline void leave_user(struct thread *thread)
{
	if (thread && thread->user_since) {
		add(USER_NS, bpf_ktime_get_ns() - thread->user_since);
		thread->user_since = 0;
	}
}

SEC("raw_tp/sys_enter")
int sys_enter(void *ctx)
{
	struct thread *thread;

	if (!is_process())
		return 0;
	add(CALLS, 1);
	thread = current_thread();
	leave_user(thread);
	if (thread)
		thread->in_call = 1;
	return 0;
}

SEC("raw_tp/sys_exit")
int sys_exit(void *ctx)
{
	__u32 id = bpf_get_current_pid_tgid();
	struct thread *thread;

	if (!is_process())
		return 0;
	thread = current_thread();
	if (!thread) {
		struct thread new = {};

		bpf_map_update_elem(&threads, &id, &new, BPF_ANY);
		thread = current_thread();
	}
	if (thread)
		thread->in_call = 0;
	enter_user(thread);
	return 0;
}

SEC("raw_tp/sched_switch")
int sched_switch(struct bpf_raw_tracepoint_args *ctx)
{
	const struct task_struct *next = (const void *)ctx->args[2];
	__u32 id = BPF_CORE_READ(next, pid);

	leave_user(current_thread());
	enter_user(bpf_map_lookup_elem(&threads, &id));
	return 0;
}

SEC("raw_tp/softirq_entry")
int softirq_entry(void *ctx)
{
	leave_user(current_thread());
	return 0;
}

SEC("raw_tp/softirq_exit")
int softirq_exit(void *ctx)
{
	enter_user(current_thread());
	return 0;
}

/* The kernel gives time and the fields of tasks only to programs under this licence. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
