#pragma once
// Macros are not imported into Swift, so the one that the project uses is wrapped.
#include <lzma.h>

static inline uint32_t clzma_concatenated(void) { return LZMA_CONCATENATED; }
