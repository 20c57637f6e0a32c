#include "CLauncher.h"

#include <stdlib.h>
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

pid_t cistern_fork(void) { return fork(); }
