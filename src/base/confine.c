#include "config.h"

#include "base/confine.h"

#include "base/macros.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/in6.h>
#include <linux/seccomp.h>

#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1 /* the leak check at exit traces its own process */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Those whose numbers and argument order are known to be as below. */
#if defined(__x86_64__) && !defined(__ILP32__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && !defined(__ILP32__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE_ARCH AUDIT_ARCH_RISCV64
#endif

static bool is_filtered;

bool nbh_confine_is_filtered(void)
{
	return is_filtered;
}

void nbh_confine_memory(void)
{
	/* core(5): 1 byte is no file and, unlike 0, no pipe either. Inherited by wireguard-go. */
	const struct rlimit one = { 1, 1 }, none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &one))
		(void)setrlimit(RLIMIT_CORE, &none);

	(void)prctl(PR_SET_DUMPABLE, SANITIZED, 0, 0, 0);
}

void nbh_confine_drop_bounding_set(void)
{
	/* Also those that are newer than this program. Fails without CAP_SETPCAP: no_new_privs holds. */
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

/* capset(), or nothing to drop where a unit refuses that call. */
static int clear_caps(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } }, caps[2] = { { 0 } };
	int r = syscall(SYS_capset, &header, none) ? -errno : 0;

	if (r < 0 && syscall(SYS_capget, &header, caps) == 0 && memcmp(caps, none, sizeof(none)) == 0)
		return 0;

	return r;
}

int nbh_confine_drop_caps(struct nbh_why *why)
{
	int r;

	nbh_confine_drop_bounding_set();
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

	r = clear_caps();

	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		r = -errno;

	if (r < 0)
		nbh_why_set(why, "cannot drop capabilities: %s", strerror(-r));

	return r;
}

#ifdef NATIVE_ARCH

#define FILTER_MAX 320
#define NEW_NAMESPACE_FLAGS                                                                        \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
	 CLONE_NEWNET)
#define SOCK_TYPE_BITS 0xf /* the rest are SOCK_CLOEXEC and SOCK_NONBLOCK */

/* Refused to everybody. Numbers that a C library does not know yet are left out. */
static const int refused[] = {
	/* other processes */
	SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_move_pages, SYS_migrate_pages,
#ifdef SYS_pidfd_getfd
	SYS_pidfd_getfd,
#endif
	/* the file system's shape */
	SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_swapon, SYS_swapoff, SYS_quotactl,
	SYS_open_by_handle_at, SYS_fanotify_init,
#ifdef SYS_move_mount
	SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick,
#endif
#ifdef SYS_mount_setattr
	SYS_mount_setattr,
#endif
	/* the kernel's larger interfaces */
	SYS_unshare, SYS_setns, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup,
	SYS_io_uring_enter, SYS_io_uring_register, SYS_add_key, SYS_request_key, SYS_keyctl,
	/* the machine */
	SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_syslog,
	SYS_acct, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_settimeofday, SYS_sethostname,
	SYS_setdomainname, SYS_vhangup,
#ifdef SYS_kexec_file_load
	SYS_kexec_file_load,
#endif
#ifdef __x86_64__
	SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs, SYS_mknod,
#endif
	SYS_mknodat,
	/* users: it is too late to change them */
	SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups,
	SYS_setfsuid, SYS_setfsgid,
};

/* Refused to those that start nobody. */
static const int refused_without_exec[] = { SYS_execve, SYS_execveat, SYS_capset };

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short n;
};

static void put(struct filter *filter, struct sock_filter instruction)
{
	if (filter->n < FILTER_MAX)
		filter->code[filter->n++] = instruction;
}

static void load(struct filter *filter, size_t offset)
{
	put(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* The lower half of an argument; the kernel looks at no more of an int. */
static void load_arg(struct filter *filter, unsigned n)
{
	size_t lower = __BYTE_ORDER == __LITTLE_ENDIAN ? 0 : 4;

	load(filter, offsetof(struct seccomp_data, args) + n * sizeof(uint64_t) + lower);
}

static void jump(struct filter *filter, unsigned short test, uint32_t value, uint8_t if_true,
                 uint8_t if_false)
{
	put(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | test | BPF_K, value, if_true, if_false));
}

static void answer(struct filter *filter, uint32_t what)
{
	put(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what));
}

static void refuse(struct filter *filter, int error)
{
	answer(filter, SECCOMP_RET_ERRNO | (uint32_t)error);
}

static void refuse_calls(struct filter *filter, const int *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		jump(filter, BPF_JEQ, (uint32_t)numbers[i], 0, 1);
		refuse(filter, EPERM);
	}
}

/* Numbers mean something only in the ABI that they belong to. Leaves the number loaded. */
static void put_abi(struct filter *filter)
{
	load(filter, offsetof(struct seccomp_data, arch));
	jump(filter, BPF_JEQ, NATIVE_ARCH, 1, 0);
	refuse(filter, EPERM);
	load(filter, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
	jump(filter, BPF_JGE, 0x40000000, 0, 1); /* x32 has numbers of its own */
	refuse(filter, EPERM);
#endif
}

/*
 * setsockopt() of what forges source addresses: the header included, and, for a raw IPv6 socket, an
 * address that is not ours. IPPROTO_RAW is another way to IPV6_HDRINCL.
 */
static void put_setsockopt(struct filter *filter)
{
	jump(filter, BPF_JEQ, SYS_setsockopt, 0, 12);
	load_arg(filter, 1);
	jump(filter, BPF_JEQ, IPPROTO_IP, 0, 3);
	load_arg(filter, 2);
	jump(filter, BPF_JEQ, IP_HDRINCL, 6, 0);
	jump(filter, BPF_JEQ, IP_FREEBIND, 5, 6);
	jump(filter, BPF_JEQ, IPPROTO_IPV6, 1, 0);
	jump(filter, BPF_JEQ, IPPROTO_RAW, 0, 4);
	load_arg(filter, 2);
	jump(filter, BPF_JEQ, IPV6_HDRINCL, 1, 0);
	jump(filter, BPF_JEQ, IPV6_FREEBIND, 0, 1);
	refuse(filter, EPERM);
	answer(filter, SECCOMP_RET_ALLOW);
}

/* Four families, and raw sockets in netlink alone, where raw means nothing. */
static void put_socket(struct filter *filter)
{
	jump(filter, BPF_JEQ, SYS_socket, 0, 12);
	load_arg(filter, 0);
	jump(filter, BPF_JEQ, AF_UNIX, 9, 0);
	jump(filter, BPF_JEQ, AF_NETLINK, 8, 0);
	jump(filter, BPF_JEQ, AF_INET, 2, 0);
	jump(filter, BPF_JEQ, AF_INET6, 1, 0);
	refuse(filter, EAFNOSUPPORT);
	load_arg(filter, 1);
	put(filter, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SOCK_TYPE_BITS));
	jump(filter, BPF_JEQ, SOCK_STREAM, 2, 0);
	jump(filter, BPF_JEQ, SOCK_DGRAM, 1, 0);
	refuse(filter, EPERM);
	answer(filter, SECCOMP_RET_ALLOW);
}

static void put_clone(struct filter *filter)
{
#ifdef SYS_clone3
	jump(filter, BPF_JEQ, SYS_clone3, 0, 1);
	refuse(filter, ENOSYS); /* its flags cannot be seen from here; C libraries fall back to clone */
#endif
	jump(filter, BPF_JEQ, SYS_clone, 0, 4);
	load_arg(filter, 0);
	jump(filter, BPF_JSET, NEW_NAMESPACE_FLAGS, 0, 1);
	refuse(filter, EPERM);
	answer(filter, SECCOMP_RET_ALLOW);
}

static void make_filter(unsigned keep, struct filter *filter)
{
	static const int ptrace_number[] = { SYS_ptrace };

	put_abi(filter);
	put_setsockopt(filter);
	put_socket(filter);
	put_clone(filter);
	refuse_calls(filter, refused, NBH_N_ELEMENTS(refused));

	if (!(keep & NBH_CONFINE_KEEP_EXEC))
		refuse_calls(filter, refused_without_exec, NBH_N_ELEMENTS(refused_without_exec));

	if (!SANITIZED)
		refuse_calls(filter, ptrace_number, 1);

	answer(filter, SECCOMP_RET_ALLOW);
}

int nbh_confine_filter(unsigned keep, struct nbh_why *why)
{
	struct filter filter = { .n = 0 };
	struct sock_fprog prog = { .filter = filter.code };

	make_filter(keep, &filter);
	prog.len = filter.n;

	/* systemd's @system-service has only the older call; we have only one thread yet anyway. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog) == 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0) {
		is_filtered = true;
		return 0;
	}

	nbh_why_set(why, "no system call filter: %s%s", strerror(errno),
	            errno == EINVAL ? " (kernel without CONFIG_SECCOMP_FILTER)" : "");
	return -ENOTSUP;
}

#else

int nbh_confine_filter(unsigned keep, struct nbh_why *why)
{
	(void)keep;
	nbh_why_set(why, "no system call filter for this architecture");
	return -ENOTSUP;
}

#endif
