#pragma once

#include <sys/types.h>

// What a Swift program can't do by itself before and around its start.

/// The arguments of this process as the kernel gave them, ended by NULL. Unlike Swift's CommandLine it needs no /proc.
char *_Nullable *_Nullable cistern_arguments(void);

/// The environment of this process as the kernel gave it, ended by NULL.
char *_Nullable *_Nullable cistern_environment(void);

/// fork(2), which Swift hides. For processes of one thread; the child may only make system calls until it executes.
pid_t cistern_fork(void);
