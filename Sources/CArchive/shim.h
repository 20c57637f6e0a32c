#pragma once
// libarchive's zip side. Its macros are not imported into Swift, so the ones the project uses are wrapped.
#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

static inline int carchive_ok(void) { return ARCHIVE_OK; }
static inline int carchive_warn(void) { return ARCHIVE_WARN; }
static inline int carchive_eof(void) { return ARCHIVE_EOF; }
static inline int carchive_fatal(void) { return ARCHIVE_FATAL; }
static inline unsigned int carchive_file(void) { return (unsigned int)AE_IFREG; }
static inline unsigned int carchive_directory(void) { return (unsigned int)AE_IFDIR; }
static inline unsigned int carchive_symlink(void) { return (unsigned int)AE_IFLNK; }

/// A locale of character types alone; NULL if the machine has none of this name. It takes files to make one.
static inline locale_t carchive_locale(const char *name) { return newlocale(LC_CTYPE_MASK, name, (locale_t)0); }

/// Calls archive_read_next_header in a locale, so that what it does to names does not depend on the process.
static inline int carchive_next_header(struct archive *archive, struct archive_entry **entry, locale_t locale) {
    locale_t before = uselocale(locale);
    int result = archive_read_next_header(archive, entry);
    uselocale(before);
    return result;
}

/// Calls archive_write_header in a locale: in one of UTF-8 the zip writer marks names as such.
static inline int carchive_write_header(struct archive *archive, struct archive_entry *entry, locale_t locale) {
    locale_t before = uselocale(locale);
    int result = archive_write_header(archive, entry);
    uselocale(before);
    return result;
}
