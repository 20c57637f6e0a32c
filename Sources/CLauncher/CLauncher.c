#define _GNU_SOURCE
#include "CLauncher.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char **start_arguments;
static int root_was_set;

// A static Swift program looks for its runtime through /proc/self/exe while it is being initialised and aborts where
// /proc is missing. SWIFT_ROOT spares it the search. The priority puts this before the runtime's own initialisers.
__attribute__((constructor(101))) static void before_swift(int argc, char **argv, char **envp) {
    (void)argc;
    (void)envp;
    start_arguments = argv;
    char byte;
    if (getenv("SWIFT_ROOT") == NULL && readlink("/proc/self/exe", &byte, 1) < 0) {
        root_was_set = setenv("SWIFT_ROOT", "/", 1) == 0;
    }
}

char **cistern_arguments(void) { return start_arguments; }

char **cistern_environment(void) {
    if (root_was_set) {
        unsetenv("SWIFT_ROOT");
        root_was_set = 0;
    }
    return environ;
}

static int become(const char *path, char *const *arguments, char *const *environment, _Bool new_session) {
    for (int number = 1; number < _NSIG; number++) signal(number, SIG_DFL);
    if (new_session) {
        setsid();
        ioctl(STDIN_FILENO, TIOCSCTTY, 0);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(path, arguments, environment);
    return errno;
}

pid_t cistern_spawn(const char *path, char *const *arguments, char *const *environment, _Bool new_session) {
    // The child shares this memory, and this process sleeps, until the child has executed the program or ended.
    volatile int failure = 0;
    pid_t child = vfork();
    if (child == 0) {
        failure = become(path, arguments, environment, new_session);
        _exit(127);
    }
    if (child > 0 && failure != 0) {
        waitpid(child, NULL, 0);
        child = -1;
        errno = failure;
    }
    return child;
}
