import Archive
import Layers
import OCI
import Testing

/// An archive that must be refused.
struct Hostile: Sendable, CustomTestStringConvertible {
    let what: String
    let fault: ConversionError.Fault
    /// What the error must name.
    let entry: String?
    /// A word of the reason.
    let reason: String
    let bytes: [UInt8]

    var testDescription: String { what }

    init(
        _ what: String, _ entry: String?, _ reason: String, fault: ConversionError.Fault = .invalid,
        _ fill: (inout HandMadeTar) -> Void
    ) {
        self.what = what
        self.entry = entry
        self.reason = reason
        self.fault = fault
        bytes = HandMadeTar.make(fill)
    }

    private static func header(_ name: String, _ change: (inout HandMadeTar.Header) -> Void) -> HandMadeTar.Header {
        var header = HandMadeTar.Header(name)
        change(&header)
        return header
    }

    static let names: [Hostile] = [
        Hostile("a parent component", "app/../../etc/passwd", "..") { $0.file("app/../../etc/passwd") },
        Hostile("a leading parent component", "../evil", "..") { $0.file("../evil") },
        Hostile("a trailing parent component", "app/..", "..") { $0.directory("app/..") },
        Hostile("an absolute name", "/etc/passwd", "absolute") { $0.file("/etc/passwd") },
        Hostile("a whiteout", "app/.wh.index.html", ".wh.") { $0.file("app/.wh.index.html") },
        Hostile("an opaque whiteout", "app/.wh..wh..opq", ".wh.") { $0.file("app/.wh..wh..opq") },
        Hostile("a whiteout directory above", "app/.wh.x/y", ".wh.") { $0.file("app/.wh.x/y") },
        Hostile("no name", nil, "no name") { $0.file("") },
        Hostile("a component of 256 bytes", nil, "255") {
            $0.pax([("path", "app/" + String(repeating: "x", count: 256))])
            $0.file("x")
        },
        Hostile("a name that is too long", nil, "too long", fault: .tooLarge) {
            $0.pax([("path", String(repeating: "0123456789/", count: 400) + "x")])
            $0.file("x")
        },
        Hostile("NUL in a PAX path", nil, "NUL") {
            $0.pax([("path", "app/a\u{0}b")])
            $0.file("x")
        },
        Hostile("the root as a file", "./", "directory") {
            $0.add(header("./") { $0.type = "7" }, content: [1])
        },
        Hostile("the root as a link", ".", "root") { $0.link(".", to: "/") },
    ]

    static let links: [Hostile] = [
        Hostile("an entry below a symbolic link", "app/link/passwd", "symbolic link") {
            $0.link("app/link", to: "/etc")
            $0.file("app/link/passwd")
        },
        Hostile("a directory entry below a symbolic link", "l/x/y", "symbolic link") {
            $0.link("l", to: "/tmp")
            $0.directory("l/x/y")
        },
        Hostile("an entry below a file", "app/file/x", "no directory") {
            $0.file("app/file")
            $0.file("app/file/x")
        },
        Hostile("a directory replaced by a link", "app", "twice") {
            $0.file("app/x")
            $0.link("app", to: "/")
        },
        Hostile("a link replaced by a directory", "app", "twice") {
            $0.link("app", to: "/")
            $0.directory("app")
        },
        Hostile("a hard link out of the droplet", "app/shadow", "..") {
            $0.hardLink("app/shadow", to: "../../etc/shadow")
        },
        Hostile("a hard link to an absolute name", "app/shadow", "absolute") {
            $0.hardLink("app/shadow", to: "/etc/shadow")
        },
        Hostile("a hard link to a missing entry", "b", "before") { $0.hardLink("b", to: "a") },
        Hostile("a hard link to a later entry", "b", "before") {
            $0.hardLink("b", to: "a")
            $0.file("a")
        },
        Hostile("a hard link to itself", "b", "before") { $0.hardLink("b", to: "b") },
        Hostile("a hard link to a directory", "b", "a directory") {
            $0.directory("a")
            $0.hardLink("b", to: "a")
        },
        Hostile("a hard link to a directory without an entry", "b", "before") {
            $0.file("a/x")
            $0.hardLink("b", to: "a")
        },
        Hostile("an entry below a hard link to a symbolic link", "b/x", "symbolic link") {
            $0.link("a", to: "/etc")
            $0.hardLink("b", to: "a")
            $0.file("b/x")
        },
        Hostile("a hard link through a symbolic link", "b", "before") {
            $0.link("a", to: "/etc")
            $0.hardLink("b", to: "a/shadow")
        },
        Hostile("a hard link without a target", "b", "empty") { $0.hardLink("b", to: "") },
        Hostile("a symbolic link without a target", "b", "target") { $0.link("b", to: "") },
    ]

    static let kinds: [Hostile] = [
        Hostile("a character device", "dev/null", "device") { $0.add(HandMadeTar.Header("dev/null", type: "3")) },
        Hostile("a block device", "dev/sda", "device") { $0.add(HandMadeTar.Header("dev/sda", type: "4")) },
        Hostile("a fifo", "app/pipe", "fifo") { $0.add(HandMadeTar.Header("app/pipe", type: "6")) },
        Hostile("a socket or whatever type s is", "s", "unknown type") { $0.add(HandMadeTar.Header("s", type: "s")) },
        Hostile("a volume label with content", nil, "volume label") {
            $0.add(HandMadeTar.Header("label", type: "V"), content: [1])
        },
        Hostile("the rest of a file from another volume", "app/big", "volumes") {
            $0.add(HandMadeTar.Header("app/big", type: "M"), content: [1])
        },
        Hostile("the rest of a file from another volume, in PAX", nil, "volumes") {
            $0.pax([("GNU.volume.filename", "app/big"), ("GNU.volume.offset", "100")], type: "g")
            $0.file("app/big", "x")
        },
        Hostile("a file that comes twice", "app/a", "twice", fault: .repeatsNames) {
            $0.file("app/a", "one")
            $0.file("app/a", "two")
        },
        Hostile("a file that comes twice under two spellings", "./app//a", "twice", fault: .repeatsNames) {
            $0.file("app/a", "one")
            $0.file("./app//a", "two")
        },
        Hostile("a directory that comes twice with another mode", "app", "twice") {
            $0.directory("app")
            $0.directory("app", mode: "0000700")
        },
        Hostile("a directory with content", "app/", "directory has content") { $0.file("app/", "content") },
        Hostile("a directory entry with content", "app/", "content") {
            $0.add(HandMadeTar.Header("app/", type: "5"), content: [1, 2, 3])
        },
        Hostile("a symbolic link with content", "l", "content") {
            $0.add(HandMadeTar.Header("l", type: "2", link: "x"), content: [1, 2, 3])
        },
    ]

    static let headers: [Hostile] = [
        Hostile("a name where GNU's headers have times", "a", "ambiguous prefix") {
            $0.add(
                header("a") {
                    $0.magic = "ustar  \u{0}"
                    $0.prefix = Array("etc/passwd".utf8)
                })
        },
        Hostile("a wrong checksum", "a", "checksum") {
            $0.file("a")
            $0.add(header("b") { $0.spoilsChecksum = true })
        },
        Hostile("a negative size", "a", "negative") {
            $0.add(HandMadeTar.Header("a"), rawSize: [UInt8](repeating: 255, count: 12))
        },
        Hostile("a size that overflows", "a", "overflows") {
            $0.add(HandMadeTar.Header("a"), rawSize: [0x80] + [UInt8](repeating: 255, count: 11))
        },
        Hostile("a huge size", "a", "larger than allowed", fault: .tooLarge) {
            $0.add(HandMadeTar.Header("a"), rawSize: [0x80, 0, 0, 0, 0x7f] + [UInt8](repeating: 255, count: 7))
        },
        Hostile("a size that is no number", "a", "not a number") {
            $0.add(HandMadeTar.Header("a"), rawSize: Array("0000000001x\u{0}".utf8))
        },
        Hostile("a PAX size that overflows", nil, "size") {
            $0.pax([("size", "99999999999999999999")])
            $0.file("a")
        },
        Hostile("two sizes, of which the larger one takes in what follows", "a", "another size") {
            $0.pax([("size", "1536")])
            $0.file("a", "hello")
            $0.file("../hidden", "x")
        },
        Hostile("a negative PAX size", nil, "size") {
            $0.pax([("size", "-1")])
            $0.file("a")
        },
        Hostile("a PAX record that is longer than its header", nil, "length") {
            $0.add(HandMadeTar.Header("pax", type: "x"), content: Array("99 path=a\n".utf8))
            $0.file("a")
        },
        Hostile("a PAX record without its newline", nil, "length") {
            $0.add(HandMadeTar.Header("pax", type: "x"), content: Array("10 path=aa".utf8))
            $0.file("a")
        },
        Hostile("a PAX record without a key", nil, "key") {
            $0.add(HandMadeTar.Header("pax", type: "x"), content: Array("5 =a\n".utf8))
            $0.file("a")
        },
        Hostile("a PAX record of length 0", nil, "length") {
            $0.add(HandMadeTar.Header("pax", type: "x"), content: Array("0 path=a\n".utf8))
            $0.file("a")
        },
        Hostile("two PAX headers for one entry", nil, "two PAX") {
            $0.pax([("path", "a")])
            $0.pax([("path", "b")])
            $0.file("c")
        },
        Hostile("a PAX path and a GNU long name", nil, "long name") {
            $0.add(HandMadeTar.Header("././@LongLink", type: "L"), content: Array("one\u{0}".utf8))
            $0.pax([("path", "two")])
            $0.file("three")
        },
        Hostile("two GNU long names", "one", "two long names") {
            $0.add(HandMadeTar.Header("././@LongLink", type: "L"), content: Array("one\u{0}".utf8))
            $0.add(HandMadeTar.Header("././@LongLink", type: "L"), content: Array("two\u{0}".utf8))
            $0.file("three")
        },
        Hostile("bytes after a GNU long name's NUL", nil, "NUL") {
            $0.add(HandMadeTar.Header("././@LongLink", type: "L"), content: Array("one\u{0}two".utf8))
            $0.file("three")
        },
        Hostile("a global path", nil, "global") {
            $0.pax([("path", "everything")], type: "g")
            $0.file("a")
        },
        Hostile("a global header within an entry's headers", nil, "global") {
            $0.pax([("path", "b")])
            $0.pax([("mtime", "1")], type: "g")
            $0.file("a")
        },
        Hostile("a header for an entry that never comes", "b", "next entry") {
            $0.file("a")
            $0.pax([("path", "b")])
        },
        Hostile("a huge PAX header", nil, "too long", fault: .tooLarge) {
            $0.add(
                header("pax") {
                    $0.type = "x"; $0.size = "77777777777"
                })
        },
        Hostile("a huge GNU long name", nil, "too long", fault: .tooLarge) {
            $0.add(
                header("l") {
                    $0.type = "L"; $0.size = "00077777777"
                })
        },
        Hostile("garbage after the end", "a", "follow the archive's end") {
            $0.file("a", "x")
            $0.end()
            $0.file("b")
        },
        Hostile("a lone zero block", "a", "follow the archive's end") {
            $0.file("a", "x")
            $0.add(block: [UInt8](repeating: 0, count: 512))
            $0.file("b")
        },
        Hostile("a sparse map that overlaps", "big", "overlap") {
            $0.pax([("GNU.sparse.size", "100"), ("GNU.sparse.name", "big"), ("GNU.sparse.map", "0,10,5,10")])
            $0.file("x", String(repeating: "a", count: 20))
        },
        Hostile("a sparse map past the file's end", "big", "past the file's end") {
            $0.pax([("GNU.sparse.size", "100"), ("GNU.sparse.name", "big"), ("GNU.sparse.map", "90,20")])
            $0.file("x", String(repeating: "a", count: 20))
        },
        Hostile("a sparse map of another length than its content", "big", "disagree") {
            $0.pax([("GNU.sparse.size", "100"), ("GNU.sparse.name", "big"), ("GNU.sparse.map", "0,10")])
            $0.file("x", String(repeating: "a", count: 20))
        },
        Hostile("a sparse map whose numbers overflow", nil, "overflows") {
            $0.pax([
                ("GNU.sparse.size", "100"), ("GNU.sparse.name", "big"),
                ("GNU.sparse.map", "9223372036854775807,9223372036854775808"),
            ])
            $0.file("x", "a")
        },
        Hostile("a sparse map that claims a million parts", "x", "too many parts", fault: .tooLarge) {
            $0.pax([("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "100")])
            $0.file("x", "1000000\n" + String(repeating: "0\n", count: 400))
        },
        Hostile("an unknown version of sparse files", "x", "version") {
            $0.pax([("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "100")])
            $0.file("x", "1\n0\n1\n")
        },
        Hostile("a sparse bomb", "big", "holes", fault: .tooLarge) {
            $0.pax([("GNU.sparse.size", "30000000000"), ("GNU.sparse.name", "big"), ("GNU.sparse.map", "0,1")])
            $0.file("x", "a")
        },
    ]
}

@Suite("Hostile droplets")
struct HostileTests {
    @Test(
        "are refused with an error that names the entry, and leave nothing behind",
        arguments: [Hostile.names, Hostile.links, Hostile.kinds, Hostile.headers].flatMap { $0 })
    func refused(_ hostile: Hostile) async throws {
        for mode in LayerMode.allCases {
            let sink = MemorySink()
            let error = await #expect(throws: ConversionError.self) {
                try await convertDroplet(Chunks(hostile.bytes), settings: LayerSettings(mode: mode), sink: sink)
            }
            #expect(error?.fault == hostile.fault)
            if let entry = hostile.entry { #expect(error?.entry == entry) }
            #expect(error?.reason.contains(hostile.reason) == true, "\(error?.reason ?? "")")
            #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
        }
    }

    @Test("cut anywhere are refused", arguments: [CompressionFormat.none, .gzip, .zstd])
    func truncated(_ format: CompressionFormat) async throws {
        let tar = HandMadeTar.make { tar in
            tar.directory("app")
            tar.pax([("path", "app/" + String(repeating: "n", count: 200)), ("mtime", "1.5")])
            tar.file("x", String(repeating: "content ", count: 500))
            tar.link("app/l", to: "x")
        }
        let whole = try compressed(tar, format)
        let step = format == .none ? 97 : 1
        // One of the two zero blocks at the end may be missing.
        let end = format == .none ? whole.count - 512 : whole.count
        for length in stride(from: 0, to: end, by: step) {
            let sink = MemorySink()
            let error = await #expect(throws: ConversionError.self, "cut at \(length) of \(whole.count)") {
                try await convertDroplet(Chunks(Array(whole[..<length])), sink: sink)
            }
            #expect(error?.fault == .invalid)
            #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
        }
    }

    @Test("with something after the compressed stream are refused", arguments: [CompressionFormat.gzip, .zstd])
    func trailingGarbage(_ format: CompressionFormat) async throws {
        let whole = try compressed(HandMadeTar.make { $0.file("a") }, format)
        let zeros = [UInt8](repeating: 0, count: 9000)
        for garbage in [Array("garbage!".utf8), [0x1f], [0x1f, 0x8b, 8], zeros + [1], zeros + whole] as [[UInt8]] {
            for sizes in [[1], [1 << 20]] {
                let error = await #expect(throws: ConversionError.self) {
                    try await convertDroplet(Chunks(whole + garbage, sizes: sizes), sink: MemorySink())
                }
                #expect(error?.fault == .invalid)
            }
        }
    }

    @Test("whose gzip checksum or length is wrong are refused")
    func wrongChecksum() async throws {
        let whole = try compressed(HandMadeTar.make { $0.file("a") }, .gzip)
        for index in whole.count - 8..<whole.count {
            var wrong = whole
            wrong[index] ^= 1
            let error = await #expect(throws: ConversionError.self) {
                try await convertDroplet(Chunks(wrong), sink: MemorySink())
            }
            #expect(error?.reason.contains("checksum") == true)
        }
    }

    @Test("lose setuid bits, attributes and unknown records, and say so")
    func dropped() async throws {
        let tar = HandMadeTar.make { tar in
            tar.pax([
                ("SCHILY.xattr.security.capability", "x"), ("SCHILY.xattr.user.a", "b"), ("VENDOR.thing", "1"),
                ("atime", "1.5"),
            ])
            var header = HandMadeTar.Header("app/sudo")
            header.mode = "0006755"
            tar.add(header, content: [1])
            tar.directory("tmp", mode: "0003777")
            tar.directory("tmp", mode: "0003777")
        }
        let sink = MemorySink()
        let converted = try await convertDroplet(Chunks(tar), sink: sink)
        let notes = converted.summary.notes
        #expect(
            notes.totals == [
                .droppedSpecialBits: 3, .droppedAttribute: 2, .droppedRecord: 1, .addedParent: 1,
                .droppedRepeatedDirectory: 1,
            ])
        #expect(notes.examples.contains { $0.entry == "app/sudo" && $0.detail == "SCHILY.xattr.user.a" })
        let entries = try entries(of: decompressed(sink.bytes(converted.layers[0].stored)))
        #expect(entries.first { $0.name == Array("home/vcap/app/sudo".utf8) }?.mode == 0o755)
        #expect(entries.first { $0.name == Array("home/vcap/tmp/".utf8) }?.mode == 0o1777)
        #expect(entries.allSatisfy { $0.records.isEmpty })
    }
}

/// All entries of a tar.
func entries(of tar: [UInt8]) throws -> [TarEntry] {
    var reader = TarReader()
    var entries: [TarEntry] = []
    var position = 0
    while true {
        var consumed = 0
        let event = try reader.next(tar.span.extracting(position..<tar.count), consumed: &consumed)
        position += consumed
        switch event {
        case .entry(let entry): entries.append(entry)
        case .content(let count): position += count
        case .hole: continue
        case .needsInput:
            try reader.finish()
            return entries
        }
    }
}
