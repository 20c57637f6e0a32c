#pragma once
// zlib's DEFLATE side. Macros with arguments are not imported into Swift, so the one the project uses is wrapped.
#include <zlib.h>

/// deflateInit2 for gzip (RFC 1952) with the largest window and zlib's own defaults otherwise.
static inline int czlib_gzip_init(z_stream *stream, int level) {
    return deflateInit2(stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
}
