#pragma once
// ISA-L's DEFLATE side. Its macros are not imported into Swift, so the ones the project uses are wrapped.
#include <isa-l/igzip_lib.h>
#include <isa-l/crc.h>

static inline unsigned int cisal_level1_buffer_size(void) { return ISAL_DEF_LVL1_DEFAULT; }
