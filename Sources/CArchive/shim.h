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

/// Calls archive_read_next_header in the C locale, so that what it does to names does not depend on the process.
static inline int carchive_next_header(struct archive *archive, struct archive_entry **entry) {
    locale_t plain = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
    if (!plain) return ARCHIVE_FATAL;
    locale_t before = uselocale(plain);
    int result = archive_read_next_header(archive, entry);
    uselocale(before);
    freelocale(plain);
    return result;
}

/// Calls archive_write_header in a locale of UTF-8, where the zip writer marks names as such, or in the C locale.
/// Where the machine has no such locale, names are written as they are, without the mark.
static inline int carchive_write_header(struct archive *archive, struct archive_entry *entry, int utf8) {
    locale_t locale = utf8 ? newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0) : (locale_t)0;
    if (!locale) locale = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
    if (!locale) return ARCHIVE_FATAL;
    locale_t before = uselocale(locale);
    int result = archive_write_header(archive, entry);
    uselocale(before);
    freelocale(locale);
    return result;
}
