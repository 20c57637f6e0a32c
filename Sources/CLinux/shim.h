#pragma once
// Linux calls and flags that Swift's Glibc module does not show.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

extern int syncfs(int descriptor);
extern int pipe2(int descriptors[2], int flags);
extern int fallocate(int descriptor, int mode, off_t offset, off_t length);
extern int sync_file_range(int descriptor, off_t offset, off_t length, unsigned int flags);

/// Opens a path below a directory: it can't leave the directory and no symlink in it is followed (openat2(2)).
static inline int clinux_open_beneath(int directory, const char *path, int flags, unsigned int mode) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = (uint64_t)(unsigned int)flags | O_CLOEXEC;
    how.mode = mode;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

/// Opens for reading what a path leads to in a directory that is taken for the root: neither a symlink nor `..` leads out
/// of it (openat2(2)). Nothing is waited for, should it be a pipe.
static inline int clinux_open_in_root(int directory, const char *path) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

/// Whether what a path below a directory leads to, symlinks followed, lies below that directory as well (openat2(2)).
///
/// Returns 0 if so; else an errno: EXDEV if it leads out of the directory, ENOENT or ELOOP if it leads nowhere.
static inline int clinux_leads_beneath(int directory, const char *path) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = 010000000 /* O_PATH */ | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    int found;
    // Somebody else's rename, anywhere, can make the kernel give up on `..`.
    for (int attempt = 0; attempt < 1000; attempt++) {
        found = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
        if (found >= 0 || errno != EAGAIN) break;
    }
    if (found < 0) return errno;
    close(found);
    return 0;
}

/// renameat2(2), for flags that glibc's header shows only with _GNU_SOURCE.
static inline int clinux_rename(int old, const char *name, int target, const char *other, unsigned int flags) {
    return (int)syscall(SYS_renameat2, old, name, target, other, flags);
}
/// RENAME_NOREPLACE
static inline unsigned int clinux_rename_new_flag(void) { return 1; }
/// RENAME_EXCHANGE
static inline unsigned int clinux_rename_exchange_flag(void) { return 2; }

/// O_NOATIME: reading does not change a file.
static inline int clinux_no_access_time_flag(void) { return 01000000; }
/// O_PATH: a place in the tree, without opening what is there.
static inline int clinux_path_flag(void) { return 010000000; }
/// SYNC_FILE_RANGE_WRITE
static inline unsigned int clinux_start_writeback_flag(void) { return 2; }

extern int pthread_setname_np(pthread_t thread, const char *name);
/// A thread's name for `ps` and debuggers, at most 15 bytes.
static inline void clinux_name_thread(pthread_t thread, const char *name) { pthread_setname_np(thread, name); }

/// pidfd_open(2): a descriptor that is readable once the process has ended; -1 where the kernel has none.
static inline int clinux_process_descriptor(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

/// Makes this process the parent of all its descendants whose own parents end (PR_SET_CHILD_SUBREAPER).
static inline int clinux_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

/// signalfd(2), closed on exec, not blocking.
static inline int clinux_signal_descriptor(const sigset_t *signals) {
    return signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/// Marks every descriptor from a number on to be closed on exec (close_range(2), CLOSE_RANGE_CLOEXEC).
static inline int clinux_close_on_exec(unsigned int first) {
    return (int)syscall(SYS_close_range, first, ~0U, 4U);
}

/// A file in memory without a name, closed on exec (memfd_create(2), MFD_CLOEXEC); -1 if there can't be one.
static inline int clinux_memory_file(void) { return (int)syscall(SYS_memfd_create, "input", 1U); }

/// Keeps others of the same user from reading this process's memory and environment (PR_SET_DUMPABLE).
static inline int clinux_hide_memory(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
extern int __nss_configure_lookup(const char *database, const char *services);
/// Looks names of hosts up in /etc/hosts and by DNS only. glibc has both built in; other services of nsswitch.conf(5)
/// it would load as libraries.
static inline void clinux_resolve_plainly(void) { __nss_configure_lookup("hosts", "files dns"); }

extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
/// Lets a program that is started have no descriptor from a number on.
static inline void clinux_spawn_closes_from(posix_spawn_file_actions_t *actions, int from) {
    posix_spawn_file_actions_addclosefrom_np(actions, from);
}
