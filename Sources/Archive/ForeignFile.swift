/// What people take for a tar archive and is none, known by its first bytes.
enum ForeignFile {
    static let xz: [UInt8] = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
    static let bzip2 = Array("BZh".utf8)

    private static let magics: [(magic: [UInt8], what: String)] = [
        ([0x1f, 0x8b], "a gzip stream"), ([0x28, 0xb5, 0x2f, 0xfd], "a zstd stream"), (xz, "an xz stream"),
        (bzip2, "a bzip2 stream"), ([0x5d, 0x00, 0x00], "an lzma stream"), ([0x04, 0x22, 0x4d, 0x18], "an lz4 stream"),
        ([0x1f, 0x9d], "a stream of compress"), (Array("PK\u{3}\u{4}".utf8), "a zip"),
        (Array("PK\u{5}\u{6}".utf8), "an empty zip"), ([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], "a 7z archive"),
        (Array("Rar!".utf8), "a rar archive"), (Array("070701".utf8), "a cpio archive"),
        (Array("!<arch>".utf8), "a Debian package or another ar archive"),
        ([0xed, 0xab, 0xee, 0xdb], "an RPM package"), (Array("hsqs".utf8), "a squashfs image"),
        ([0x7f, 0x45, 0x4c, 0x46], "a program"), (Array("%PDF".utf8), "a PDF document"),
        (Array("version https://git-lfs".utf8), "a pointer of Git LFS"),
    ]
    private static let pages = ["<!doctype html", "<html"]

    /// How many bytes at the beginning are looked at.
    static let length = 64

    /// - Parameter start: the first `length` bytes, or all of a shorter file.
    /// - Returns: nil for what is not known.
    static func name(_ start: [UInt8]) -> String? {
        if let known = magics.first(where: { start.starts(with: $0.magic) }) { return known.what }
        let text = String(decoding: start.drop { $0 >= 0x80 || $0 <= 0x20 }, as: UTF8.self).lowercased()
        if pages.contains(where: text.hasPrefix) { return "an HTML page" }
        if text.hasPrefix("<?xml") || text.hasPrefix("<error") { return "an XML document" }
        if text.hasPrefix("{") { return "a JSON document" }
        return nil
    }
}
