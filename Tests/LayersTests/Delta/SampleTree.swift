import Archive

/// A file tree in memory that tests change at random: names, and what they are names of.
struct SampleTree {
    struct File: Hashable {
        enum Content: Hashable {
            case directory
            case file([UInt8])
            case link([UInt8])
        }

        var content: Content
        var mode: UInt32 = 0o755
        var owner: Int64 = 0
        var group: Int64 = 0
        var time = TarTime(seconds: 1_700_000_000)
        var attribute: [UInt8]?

        var isDirectory: Bool { content == .directory }
    }

    /// What is at a name; equal numbers are one file.
    private(set) var names: [[UInt8]: Int] = [:]
    private(set) var files: [File] = []

    // MARK: Changing

    mutating func set(_ name: String, _ file: File) { set(Array(name.utf8), file) }

    mutating func set(_ name: [UInt8], _ file: File) {
        if !(file.isDirectory && names[name].map { files[$0].isDirectory } ?? false) { remove(name) }
        files.append(file)
        names[name] = files.count - 1
    }

    mutating func link(_ name: [UInt8], to other: [UInt8]) {
        guard name != other, let file = names[other], !files[file].isDirectory else { return }
        remove(name)
        names[name] = file
    }

    mutating func remove(_ name: [UInt8]) {
        for other in names.keys where other == name || other.starts(with: name + [UInt8(ascii: "/")]) {
            names[other] = nil
        }
    }

    mutating func change(_ name: [UInt8], _ change: (inout File) -> Void) {
        if let file = names[name] { change(&files[file]) }
    }

    // MARK: Random

    private static let components: [[UInt8]] =
        ["a", "b", "c", "a b", "a.", "wh.", ".wha", "dir", "\u{e9}"].map { Array($0.utf8) }
        + [[0xff, 0xfe], [UInt8](repeating: 120, count: 255), [UInt8](repeating: 121, count: 130)]

    /// A tree with so many changes made to it.
    mutating func shake(_ count: Int, _ random: inout SplitMix) {
        for _ in 0..<count { shake(&random) }
    }

    private mutating func shake(_ random: inout SplitMix) {
        let sorted = names.keys.sorted { $0.lexicographicallyPrecedes($1) }
        let some = sorted.randomElement(using: &random)
        switch Int.random(in: 0..<20, using: &random) {
        case 0...5: set(place(sorted, &random), file(&random))
        case 6: if let some { set(some, file(&random)) }
        case 7: if let some { remove(some) }
        case 8, 16, 17:
            if let some { link(place(sorted.filter { !$0.starts(with: some) }, &random), to: some) }
        case 9, 18, 19:
            // Its other names lose it.
            if let some, let file = names[some].map({ files[$0] }), !file.isDirectory { set(some, file) }
        case 10:
            if let some {
                change(some) { $0.mode = [0o755, 0o700, 0o4755, 0o1777].randomElement(using: &random) ?? 0 }
            }
        case 11: if let some { change(some) { $0.owner = Int64.random(in: 0...2, using: &random) * 3_000_000 } }
        case 12: if let some { change(some) { $0.group += 1 } }
        case 13:
            if let some {
                change(some) {
                    $0.attribute = $0.attribute == nil ? [1, 0, UInt8.random(in: 0...9, using: &random)] : nil
                }
            }
        case 14:
            if let some {
                change(some) { $0.time = TarTime(seconds: Int64.random(in: -9...9, using: &random), nanoseconds: 5) }
            }
        default:
            if let some, let file = names[some], case .file(let bytes) = files[file].content {
                change(some) { $0.content = .file(bytes + [UInt8.random(in: 0...255, using: &random)]) }
            }
        }
    }

    private func place(_ names: [[UInt8]], _ random: inout SplitMix) -> [UInt8] {
        let component = Self.components.randomElement(using: &random) ?? []
        let directories = names.filter { self.names[$0].map { files[$0].isDirectory } ?? false }
        guard let parent = ([[]] + directories).randomElement(using: &random), !parent.isEmpty, parent.count < 3000
        else {
            return component
        }
        return parent + [UInt8(ascii: "/")] + component
    }

    private func file(_ random: inout SplitMix) -> File {
        switch Int.random(in: 0..<8, using: &random) {
        case 0...2: return File(content: .directory)
        case 3: return File(content: .link(Self.components.randomElement(using: &random) ?? [1]), mode: 0o777)
        default:
            let size = [0, 1, 511, 512, 513, 3000].randomElement(using: &random) ?? 0
            return File(content: .file([UInt8](repeating: UInt8.random(in: 0...3, using: &random), count: size)))
        }
    }

    // MARK: Archives

    /// The tree as a tar, in a random order that has each directory before what lies in it.
    func tar(_ random: inout SplitMix) -> [UInt8] {
        let order = names.keys.sorted { $0.lexicographicallyPrecedes($1) }.shuffled(using: &random)
            .enumerated().sorted { (depth($0.element), $0.offset) < (depth($1.element), $1.offset) }
        var bytes: [UInt8] = []
        var first: [Int: [UInt8]] = [:]
        for name in order.map(\.element) {
            guard let number = names[name] else { continue }
            append(name, files[number], linkedTo: first[number], to: &bytes)
            if !files[number].isDirectory, first[number] == nil { first[number] = name }
        }
        return bytes + [UInt8](repeating: 0, count: TarWriter.endLength)
    }

    private func depth(_ name: [UInt8]) -> Int { name.count { $0 == UInt8(ascii: "/") } }

    private func append(_ name: [UInt8], _ file: File, linkedTo target: [UInt8]?, to bytes: inout [UInt8]) {
        var entry = TarEntry(
            kind: .file, name: name, mode: file.mode, userID: file.owner, groupID: file.group, modified: file.time)
        entry.records = file.attribute.map { [TarRecord(key: "SCHILY.xattr.security.capability", value: $0)] } ?? []
        var content: [UInt8] = []
        if let target {
            entry.kind = .hardLink
            entry.linkName = target
        } else {
            switch file.content {
            case .directory:
                entry.kind = .directory
                entry.name.append(UInt8(ascii: "/"))
            case .link(let target):
                entry.kind = .symbolicLink
                entry.linkName = target
            case .file(let bytes): content = bytes
            }
        }
        entry.size = Int64(content.count)
        TarWriter.append(entry, to: &bytes)
        bytes += content + [UInt8](repeating: 0, count: TarWriter.padding(entry.size))
    }

    // MARK: Comparing

    /// What everybody can see of a name: the file, and the first of its names.
    struct Seen: Hashable {
        var file: File
        var firstName: [UInt8]
    }

    var seen: [[UInt8]: Seen] {
        var first: [Int: [UInt8]] = [:]
        var seen: [[UInt8]: Seen] = [:]
        for name in names.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard let number = names[name] else { continue }
            if first[number] == nil { first[number] = name }
            var file = files[number]
            if case .link = file.content { file.mode = 0o777 }
            seen[name] = Seen(file: file, firstName: first[number] ?? name)
        }
        return seen
    }

    /// The tree that a chain of layers makes, by the letter of the image specification and without any index: first the
    /// whiteouts of a layer, then its entries.
    init(layers: [[UInt8]]) throws {
        for layer in layers {
            let entries = try SampleTree.entries(layer)
            for (entry, _) in entries {
                let (parent, name) = SampleTree.split(entry.name)
                guard name.starts(with: Array(".wh.".utf8)) else { continue }
                remove(parent + name.dropFirst(4))
            }
            for (entry, content) in entries {
                let (parent, name) = SampleTree.split(entry.name)
                guard !name.starts(with: Array(".wh.".utf8)) else { continue }
                var file = File(
                    content: .file(content), mode: entry.mode, owner: entry.userID, group: entry.groupID,
                    time: entry.modified, attribute: entry.records.first?.value)
                switch entry.kind {
                case .directory: file.content = .directory
                case .symbolicLink: file.content = .link(entry.linkName)
                case .hardLink:
                    link(parent + name, to: entry.linkName)
                    continue
                default: break
                }
                set(parent + name, file)
            }
        }
    }

    init() {}

    private static func split(_ name: [UInt8]) -> (parent: [UInt8], name: [UInt8]) {
        let name = name.last == UInt8(ascii: "/") ? Array(name.dropLast()) : name
        let cut = name.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
        return (Array(name[..<cut]), Array(name[cut...]))
    }

    /// The entries of a tar with their contents.
    static func entries(_ tar: [UInt8]) throws -> [(TarEntry, [UInt8])] {
        var reader = TarReader()
        var entries: [(TarEntry, [UInt8])] = []
        var position = 0
        while true {
            var consumed = 0
            let event = try reader.next(tar.span.extracting(position..<tar.count), consumed: &consumed)
            position += consumed
            switch event {
            case .entry(let entry): entries.append((entry, []))
            case .content(let count):
                entries[entries.count - 1].1 += tar[position..<position + count]
                position += count
            case .hole(let count): entries[entries.count - 1].1 += [UInt8](repeating: 0, count: Int(count))
            case .needsInput:
                try reader.finish()
                return entries
            }
        }
    }
}
