// A disk that takes no more than CISTERN_BENCH_DISK bytes a second, for a program that writes by pwrite(2).
//
//   gcc -O2 -shared -fPIC -o slowdisk.so slowdisk.c && LD_PRELOAD=./slowdisk.so CISTERN_BENCH_DISK=40000000 program
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static double freeAt;

static void wait_for_disk(size_t count) {
    const char *rate = getenv("CISTERN_BENCH_DISK");
    if (!rate || count < 4096) return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double time = now.tv_sec + now.tv_nsec / 1e9;
    pthread_mutex_lock(&lock);
    if (freeAt < time) freeAt = time;
    freeAt += count / atof(rate);
    double rest = freeAt - time;
    pthread_mutex_unlock(&lock);
    struct timespec pause = {(time_t)rest, (long)((rest - (time_t)rest) * 1e9)};
    nanosleep(&pause, NULL);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    wait_for_disk(count);
    return real(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t offset) { return pwrite(file, bytes, count, offset); }
