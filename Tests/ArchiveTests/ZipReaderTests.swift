import Archive
import Foundation
import TestSupport
import Testing

@Suite("Zip files")
struct ZipReaderTests {
    typealias Entry = HandMadeZip.Entry

    struct Refused: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let entries: [HandMadeZip.Entry]

        init(_ name: String, _ entries: HandMadeZip.Entry...) {
            testDescription = name
            self.entries = entries
        }

        /// One with an entry that was changed.
        init(_ name: String, _ change: (inout HandMadeZip.Entry) -> Void) {
            var entry = HandMadeZip.Entry("file", "content")
            change(&entry)
            self.init(name, entry)
        }
    }

    static let refused = [
        Refused("a name that goes up", Entry("../evil", "x")),
        Refused("a name that goes up later", Entry("a/../../evil", "x")),
        Refused("a name that goes up and stays inside", Entry("a/../b", "x")),
        Refused("an absolute name", Entry("/tmp/evil", "x")),
        Refused("a name that goes up by backslashes, from Windows") {
            $0.name = Array("..\\..\\evil".utf8)
            $0.system = 0
        },
        Refused("a name with NUL") { $0.name = Array("a\u{0}b".utf8) },
        Refused("no name") { $0.name = [] },
        Refused("a name that is only here", Entry(".", "x")),
        Refused("a link to an absolute path", .link("link", "/etc/passwd")),
        Refused("a link out of the root", .link("a/link", "../../evil")),
        Refused("a link out of the root by way of another link", .link("here", "."), .link("link", "here/../evil")),
        Refused("a link without a target", .link("link", "")),
        Refused("a file below a link", .link("link", "dir"), Entry("dir/a"), Entry("link/file", "x")),
        Refused("a file in the place of a link", .link("link", "evil"), Entry("link", "x")),
        Refused("a directory in the place of a link", .link("link", "dir"), .directory("dir/"), .directory("link/")),
        Refused("a file below a file", Entry("file", "x"), Entry("file/below", "x")),
        Refused("two files of one name", Entry("file", "x"), Entry("file", "y")),
        Refused("two files whose names mean the same", Entry("a/file", "x"), Entry("a/./file", "y")),
        Refused("a file in the place of a directory", Entry("a/b", "x"), Entry("a", "y")),
        Refused("a device", Entry("device", mode: 0o020666)),
        Refused("an encrypted entry") { $0.flags = 1 },
        Refused("an entry with a wrong checksum") { $0.crc = 7 },
        Refused("an entry that says it is longer") { $0.size = 8 },
        Refused("an entry that says it is shorter") { $0.size = 6 },
        Refused("an entry compressed by bzip2") { $0.method = 12 },
        Refused("an entry compressed by an unknown method") { $0.method = 77 },
        Refused("an entry with two names") { $0.localName = Array("other".utf8) },
    ]

    @Test("are refused as invalid, and nothing outside is written", arguments: refused)
    func invalid(_ row: Refused) async throws {
        let error = await #expect(throws: ArchiveError.self) {
            try await unpacking(HandMadeZip(row.entries).bytes) { _ in }
        }
        #expect(error?.fault == .invalid)
        #expect(error?.reason.isEmpty == false)
    }

    @Test("with two entries that share one content are refused: such bombs stay small")
    func sharedContent() async throws {
        var second = Entry("b", "content")
        second.offset = 0
        let zip = HandMadeZip([Entry("a", "content"), second]).bytes
        let error = await #expect(throws: ArchiveError.self) { try await unpacking(zip) { _ in } }
        #expect(error?.fault == .invalid)
    }

    @Test("keep modes and times; set-id bits go, and what has no Unix mode may be run")
    func modes() async throws {
        var plain = Entry("plain.sh", "x", mode: 0)
        plain.system = 0
        let zip = HandMadeZip([
            .directory("dir/", mode: 0o750), Entry("dir/a", "1", mode: 0o100640), Entry("read", "2", mode: 0o100444),
            Entry("shared", "3", mode: 0o100664), Entry("suid", "4", mode: 0o106755), plain,
            Entry("none", "5", mode: 0), .directory("locked/", mode: 0o555), Entry("locked/in", "6"),
            Entry("made/on/the/way", "7"),
        ])
        try await unpacking(zip.bytes) { tree in
            #expect(
                tree.entries == [
                    "dir": "dir 750", "dir/a": "file 640 1", "read": "file 444 2", "shared": "file 664 3",
                    "suid": "file 755 4", "plain.sh": "file 755 x", "none": "file 755 5", "locked": "dir 755",
                    "locked/in": "file 644 6", "made": "dir 755", "made/on": "dir 755", "made/on/the": "dir 755",
                    "made/on/the/way": "file 644 7",
                ])
            // The zip's time has no zone: it is the process's.
            let time = DateComponents(
                calendar: Calendar(identifier: .gregorian), timeZone: .current, year: 2026, month: 1, day: 2, hour: 3,
                minute: 4, second: 6
            ).date
            for name in ["dir", "dir/a", "locked", "suid"] {
                #expect(tree.modified[name] == time.map { Int($0.timeIntervalSince1970) }, "\(name)")
            }
        }
    }

    @Test("keep links that stay inside, also those that lead nowhere")
    func links() async throws {
        let links = [
            "top": "a", "a/link": "../b/./file", "a/up": "..", "a/nowhere": "missing/one", "a/inside": "b/../../a",
            "a/loop": "loop",
        ]
        let zip = HandMadeZip([Entry("a/file", "x"), Entry("a/b/file", "y")] + links.map { .link($0.key, $0.value) })
        try await unpacking(zip.bytes) { tree in
            for (name, target) in links { #expect(tree.entries[name] == "link -> \(target)") }
        }
    }

    @Test("keep names byte for byte, in whatever encoding")
    func names() async throws {
        var latin = Entry("x", "latin")
        latin.name = [0x63, 0x61, 0x66, 0xe9]
        // The same letter in one code point and in two: libarchive would make one of both.
        var composed = Entry("caf\u{e9}", "composed")
        composed.flags = 1 << 11
        var decomposed = Entry("cafe\u{301}", "decomposed")
        decomposed.flags = 1 << 11
        var infoZip = Entry("caf?", "info-zip")
        let name = Array("caf\u{e9}.txt".utf8)
        infoZip.extra = [0x75, 0x70]
        infoZip.extra += HandMadeZip.number(5 + name.count, 2)
        infoZip.extra.append(1)
        infoZip.extra += HandMadeZip.number(HandMadeZip.crc(infoZip.name), 4)
        infoZip.extra += name
        var windows = Entry("dir\\file", "windows")
        windows.system = 0
        let zip = HandMadeZip([latin, composed, decomposed, infoZip, windows, Entry("a\\b", "unix")])
        try await withTemporaryDirectory { place in
            try Data(zip.bytes).write(to: URL(fileURLWithPath: place + "/zip"))
            var reader = try ZipReader(path: place + "/zip")
            var names: [[UInt8]] = []
            while let entry = try reader.next() { names.append(entry.name) }
            #expect(
                names == [
                    latin.name, composed.name, decomposed.name, name, Array("dir/file".utf8), Array("a\\b".utf8),
                ])
        }
    }

    @Test("over a limit are too large", arguments: ["entries", "bytes", "ratio", "directory", "name", "part", "depth"])
    func limits(_ which: String) async throws {
        var limits = ZipReader.Limits()
        var writerLimits = DirectoryWriter.Limits()
        var entries = [Entry("a", "0123456789"), Entry("b", "0123456789")]
        switch which {
        case "entries": limits.entries = 1
        case "bytes": limits.bytes = 19
        case "ratio": (limits.ratio, limits.ratioAllowance) = (0, 19)
        case "directory": limits.directoryLength = 80
        case "name": limits.nameLength = 0
        case "part": entries.append(Entry(String(repeating: "a", count: 256)))
        default:
            writerLimits.depth = 3
            entries.append(Entry("1/2/3/4"))
        }
        let zip = HandMadeZip(entries).bytes
        let error = await #expect(throws: ArchiveError.self) {
            try await unpacking(zip, limits: limits, writerLimits: writerLimits) { _ in }
        }
        #expect(error?.fault == .tooLarge)
    }

    @Test("that are cut anywhere are refused")
    func truncated() async throws {
        let zip = HandMadeZip([Entry("a", "content"), .link("b", "a"), .directory("c/")]).bytes
        try await withTemporaryDirectory { place in
            for length in 0..<zip.count {
                let path = place + "/\(length)"
                try Data(zip[..<length]).write(to: URL(fileURLWithPath: path))
                let error = #expect(throws: ArchiveError.self) { _ = try ZipReader(path: path).count }
                #expect(error?.fault == .invalid)
            }
        }
    }

    @Test("are told from other files", arguments: [(true, 3), (true, 0), (false, 1)])
    func isZip(_ row: (isZip: Bool, entries: Int)) async throws {
        let zip = HandMadeZip((0..<row.entries).map { Entry("file\($0)", "x") }).bytes
        let bytes = row.isZip ? Array("#!/bin/sh\n".utf8) + zip : Array("PK\u{3}\u{4} is how a zip begins".utf8)
        try await withTemporaryDirectory { place in
            try Data(bytes).write(to: URL(fileURLWithPath: place + "/file"))
            let descriptor = open(place + "/file", O_RDONLY)
            defer { close(descriptor) }
            lseek(descriptor, 5, SEEK_SET)
            #expect(try ZipReader.isZip(descriptor: descriptor) == row.isZip)
            #expect(lseek(descriptor, 0, SEEK_CUR) == 5)
            if row.isZip { #expect(try ZipReader(descriptor: descriptor).count == row.entries) }
            let directory = open(place, O_RDONLY)
            defer { close(directory) }
            #expect(try !ZipReader.isZip(descriptor: directory))
        }
    }

    @Test("are read up to where the caller has no more memory or time")
    func stopped() async throws {
        let zip = HandMadeZip((0..<3000).map { Entry("a-file-with-a-name-\($0)", "x") }).bytes
        try await withTemporaryDirectory { place in
            try Data(zip).write(to: URL(fileURLWithPath: place + "/zip"))
            let noMemory = #expect(throws: ArchiveError.self) {
                _ = try ZipReader(path: place + "/zip", reserve: { $0 < 200_000 }).count
            }
            #expect(noMemory?.fault == .noMemory)
            try FileManager.default.createDirectory(atPath: place + "/root", withIntermediateDirectories: false)
            var reader = try ZipReader(path: place + "/zip")
            var writer = try DirectoryWriter(path: place + "/root")
            var asked = 0
            do throws(ArchiveError) {
                try reader.extract(into: &writer) {
                    asked += 1
                    return asked > 9
                }
                Issue.record("it went on")
            } catch {
                #expect(error.fault == .cancelled)
            }
            let created = writer.entries
            #expect(created < 9)
        }
    }

    @Test("over 4 GiB are read, with the entries behind")
    func zip64() async throws {
        // A stored file of zeros, which takes no space on the disk, with its sizes in a zip64 field.
        let size: Int64 = 1 << 32 + 5
        let ones = [UInt8](repeating: 0xff, count: 4)
        var sizes: [UInt8] = [1, 0, 16, 0]
        for _ in 0..<2 { sizes += HandMadeZip.number(size, 8) }
        /// A header from the flags on, with `sizes` for a file that is too large for the old fields.
        func header(_ name: String, isBig: Bool, _ extra: [UInt8]) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: 8)
            bytes += HandMadeZip.number(isBig ? 0xb1c2_a1a3 : HandMadeZip.crc(Array("x".utf8)), 4)
            for _ in 0..<2 { bytes += isBig ? ones : HandMadeZip.number(1, 4) }
            bytes += HandMadeZip.number(name.utf8.count, 2)
            bytes += HandMadeZip.number(extra.count, 2)
            return bytes
        }
        var first: [UInt8] = [0x50, 0x4b, 3, 4, 45, 0]
        first += header("big", isBig: true, sizes)
        first += Array("big".utf8)
        first += sizes
        let offset = Int64(first.count) + size
        var rest: [UInt8] = [0x50, 0x4b, 3, 4, 45, 0]
        rest += header("small", isBig: false, [])
        rest += Array("smallx".utf8)
        let start = offset + Int64(rest.count)
        let attributes: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0xa4, 0x81]
        let place64: [UInt8] = [1, 0, 8, 0] + HandMadeZip.number(offset, 8)
        for (name, extra, place) in [("big", sizes, [0, 0, 0, 0]), ("small", place64, ones)] {
            rest += [0x50, 0x4b, 1, 2, 45, 3, 45, 0]
            rest += header(name, isBig: name == "big", extra)
            rest += attributes
            rest += place
            rest += Array(name.utf8)
            rest += extra
        }
        let end = offset + Int64(rest.count)
        rest += [0x50, 0x4b, 6, 6]
        rest += HandMadeZip.number(44, 8)
        rest += [45, 3, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        for number in [2, 2, end - start, start] { rest += HandMadeZip.number(number, 8) }
        rest += [0x50, 0x4b, 6, 7, 0, 0, 0, 0]
        rest += HandMadeZip.number(end, 8)
        rest += [1, 0, 0, 0, 0x50, 0x4b, 5, 6, 0, 0, 0, 0, 2, 0, 2, 0]
        rest += ones + ones
        rest += [0, 0]
        try await withTemporaryDirectory { place in
            let path = place + "/zip"
            try Data(first).write(to: URL(fileURLWithPath: path))
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            try file.seek(toOffset: UInt64(offset))
            try file.write(contentsOf: rest)
            try file.close()

            var reader = try ZipReader(path: path)
            #expect(try reader.next()?.size == size)
            var count: Int64 = 0
            while let length = try reader.withContent({ $0.count }) { count += Int64(length) }
            #expect(count == size)
            #expect(try reader.next()?.name == Array("small".utf8))
            #expect(try reader.withContent({ Array($0) }) == Array("x".utf8))
            #expect(try reader.withContent({ $0.count }) == nil)
            #expect(try reader.next() == nil)
        }
    }

    @Test("changed anywhere never crash the reader, and nothing outside is written", arguments: 0..<4)
    func mutated(_ seed: UInt64) async throws {
        let zip = HandMadeZip([
            .directory("dir/"), Entry("dir/file", "some content"), .link("dir/link", "../dir/file"), .link("up", "dir"),
            Entry("other/file", String(repeating: "content ", count: 20)), Entry("last", "x"),
        ]).bytes
        var generator = SplitMix(state: seed)
        var read = 0
        for _ in 0..<400 {
            var wrong = zip
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: 0..<wrong.count, using: &generator)
                wrong[index] =
                    [UInt8.random(in: 0...255, using: &generator), 0x2e, 0x2f, 0xff].randomElement(
                        using: &generator) ?? 0
            }
            do {
                try await unpacking(wrong) { tree in
                    for value in tree.entries.values { #expect(!value.hasPrefix("link -> /")) }
                }
                read += 1
            } catch let error as ArchiveError {
                #expect(!error.description.isEmpty)
            }
        }
        #expect((1..<400).contains(read))
    }

    @Test("of other programs are read as they were meant", arguments: ["deflated", "stored", "streamed", "bsdtar"])
    func foreign(_ how: String) async throws {
        try await withTemporaryDirectory { place in
            let script = """
                import os, sys, zipfile
                os.makedirs('in/sub'); os.chmod('in/sub', 0o755)
                open('in/text', 'w').write('hello ' * 5000); os.chmod('in/text', 0o600)
                open('in/sub/run.sh', 'w').write('#!/bin/sh'); os.chmod('in/sub/run.sh', 0o755)
                open('in/caf\\u00e9', 'w').write('x'); os.chmod('in/caf\\u00e9', 0o644)
                how = sys.argv[1]
                if how != 'bsdtar':
                    out = sys.stdout.buffer if how == 'streamed' else open('zip', 'wb')
                    with zipfile.ZipFile(out, 'w', zipfile.ZIP_STORED if how == 'stored' else zipfile.ZIP_DEFLATED) as z:
                        for name in ['sub', 'sub/run.sh', 'text', 'caf\\u00e9']: z.write('in/' + name, name)
                """
            let python = "export LC_ALL=C.UTF-8; python3 -c \"$1\" \(how)"
            let line =
                switch how {
                case "streamed": python + " | cat > zip"
                case "bsdtar": python + "; cd in; bsdtar --format zip -cf ../zip sub text caf*"
                default: python
                }
            _ = try await runSuccessfully("sh", ["-c", line, "sh", script], directory: place)
            let zip = try Data(contentsOf: URL(fileURLWithPath: place + "/zip"))
            try await unpacking(Array(zip)) { tree in
                #expect(tree.entries.keys.sorted() == ["caf\u{e9}", "sub", "sub/run.sh", "text"])
                #expect(tree.entries["sub"] == "dir 755")
                #expect(tree.entries["sub/run.sh"] == "file 755 #!/bin/sh")
                #expect(tree.entries["text"]?.hasPrefix("file 600 hello hello") == true)
            }
        }
    }
}
