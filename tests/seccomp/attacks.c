/* Tries what a container must not be able to do. A line for each: name and the errno it failed with, or `done`. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void tell(const char *name, long result) {
    if (result == -1)
        printf("%s %d\n", name, errno);
    else
        printf("%s done\n", name);
    fflush(stdout);
}

#define TRY(name, ...) (errno = 0, tell(name, syscall(__VA_ARGS__)))

/* A copy of this process that came to be does nothing. */
static long copy(long result) {
    if (result == 0)
        _exit(0);
    return result;
}

int main(void) {
    char zeros[256] = {0};
    struct clone_args args = {.exit_signal = SIGCHLD};
    TRY("unshare-user", SYS_unshare, CLONE_NEWUSER);
    TRY("unshare-mount", SYS_unshare, CLONE_NEWNS);
    tell("clone-user", copy(syscall(SYS_clone, (long)(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0)));
    TRY("setns", SYS_setns, 0, 0);
    TRY("keyctl", SYS_keyctl, 0, -3, 0);
    TRY("add_key", SYS_add_key, "user", "x", "y", 1, -3);
    TRY("request_key", SYS_request_key, "user", "x", 0, -3);
    TRY("socket-alg", SYS_socket, 38, SOCK_SEQPACKET, 0);
    TRY("socket-vsock", SYS_socket, 40, SOCK_STREAM, 0);
    TRY("userfaultfd", SYS_userfaultfd, 1);
    TRY("bpf", SYS_bpf, 0, zeros, sizeof zeros);
    TRY("perf_event_open", SYS_perf_event_open, zeros, 0, -1, -1, 0);
    TRY("open_by_handle_at", SYS_open_by_handle_at, -100, zeros, 0);
    TRY("mount", SYS_mount, "none", "/tmp", "tmpfs", 0, 0);
    TRY("umount2", SYS_umount2, "/proc", 2);
    TRY("pivot_root", SYS_pivot_root, "/", "/");
    TRY("fsopen", SYS_fsopen, "tmpfs", 0);
    TRY("open_tree", SYS_open_tree, -100, "/", 1);
    TRY("move_mount", SYS_move_mount, -1, "", -1, "", 0);
    TRY("mount_setattr", SYS_mount_setattr, -100, "/", 0, zeros, 32);
    TRY("pidfd_getfd", SYS_pidfd_getfd, 0, 0, 0);
    TRY("kcmp", SYS_kcmp, 1, 1, 0, 0, 0);
    TRY("process_madvise", SYS_process_madvise, 0, 0, 0, 0, 0);
    TRY("io_uring_setup", SYS_io_uring_setup, 1, zeros);
    TRY("kexec_load", SYS_kexec_load, 0, 0, 0, 0);
    TRY("init_module", SYS_init_module, zeros, 1, "");
    TRY("reboot", SYS_reboot, 0xfee1dead, 672274793, 0, 0);
    TRY("swapon", SYS_swapon, "/x", 0);
    TRY("settimeofday", SYS_settimeofday, zeros, 0);
    TRY("acct", SYS_acct, "/x");
    TRY("syslog", SYS_syslog, 3, zeros, 10);
    TRY("quotactl", SYS_quotactl, 0, 0, 0, 0);
    TRY("sethostname", SYS_sethostname, "x", 1);
    TRY("fanotify_init", SYS_fanotify_init, 0, 0);
    TRY("personality", SYS_personality, 0x0400000);
    /* As if the kernel did not have it, so that C libraries make do with clone. */
    tell("clone3", copy(syscall(SYS_clone3, &args, sizeof args)));
#ifdef __x86_64__
    TRY("iopl", SYS_iopl, 3);
    /* What a 32-bit program asks for, by a call of its own and by the one for all. */
    int r, *in = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(359), "b"(38), "c"(5), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    errno = -r, tell("x86-socket-alg", r < 0 ? -1 : r);
    in[0] = AF_INET, in[1] = SOCK_STREAM, in[2] = 0;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(102), "b"(1), "c"(in) : "memory", "r8", "r9", "r10", "r11");
    errno = -r, tell("x86-socketcall", r < 0 ? -1 : r);
#endif
    /* The filter allows it, as docker's does since kernel 4.8; the kernel refuses it for another user's processes. */
    struct iovec here = {zeros, 1}, there = {(void *)main, 1};
    if (setresuid(4711, 4711, 4711) == 0)
        TRY("process_vm_readv", SYS_process_vm_readv, getppid(), &here, 1, &there, 1, 0);
    return 0;
}
