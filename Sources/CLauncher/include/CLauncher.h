#pragma once

#include <sys/types.h>

// What a Swift program can't do by itself before and around its start.

/// The arguments of this process as the kernel gave them, ended by NULL. Unlike Swift's CommandLine it needs no /proc.
char *_Nullable *_Nullable cistern_arguments(void);

/// The environment of this process as the kernel gave it, ended by NULL.
char *_Nullable *_Nullable cistern_environment(void);

/// Starts a program as a child with all signals at their defaults and none blocked. The caller has blocked all signals
/// and has one thread. Needs vfork(2), which Swift hides: it takes half the time of fork(2), and tells of failures.
/// - new_session: the child leads a session of its own and takes the terminal on standard input, if there is one.
/// - Returns: the child, or -1 with the reason in errno.
pid_t cistern_spawn(
    const char *_Nonnull path, char *_Nullable const *_Nonnull arguments, char *_Nullable const *_Nonnull environment,
    _Bool new_session);
