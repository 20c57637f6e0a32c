#pragma once
// preadv2, which Swift's Glibc module does not show, and the size of an open file.
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

extern ssize_t preadv2(int descriptor, const struct iovec *vectors, int count, off_t offset, int flags);

/// Reads only what the system has in memory: -1 with EAGAIN where it would have to wait for the disk.
static inline ssize_t cpread_cached(int descriptor, void *bytes, size_t count, off_t offset) {
    struct iovec vector = {bytes, count};
    return preadv2(descriptor, &vector, 1, offset, 8 /* RWF_NOWAIT */);
}

/// The size of an open file in bytes; -1 if the descriptor is not open.
static inline off_t cpread_size(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 ? status.st_size : -1;
}
