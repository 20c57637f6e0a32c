import Testing

/// Where the contents of a tar's files lie, for archives with short names and without holes. Empty files and
/// directories are left out.
struct TarContents {
    private(set) var files: [(name: String, range: Range<Int>)] = []

    init(of archive: [UInt8]) {
        var place = 0
        while place + 512 <= archive.count, archive[place] != 0 {
            let header = archive[place..<place + 512]
            let name = String(decoding: header.prefix(100).prefix { $0 != 0 }, as: UTF8.self)
            let digits = header.dropFirst(124).prefix(12).prefix { $0 != 0 && $0 != UInt8(ascii: " ") }
            let size = Int(String(decoding: digits, as: UTF8.self), radix: 8) ?? 0
            if size > 0 { files.append((name, place + 512..<place + 512 + size)) }
            place += 512 + (size + 511) / 512 * 512
        }
    }
}
