import Archive

/// What a caller wants to know about a root filesystem while it is converted.
public struct RootfsWatch: Sendable {
    /// Paths of small files to be read, with the most bytes that each may have. Symbolic links are followed at the end,
    /// but only to other files of this list: name both `etc/os-release` and `usr/lib/os-release`.
    public var files: [String: Int]
    /// Paths of which the caller wants to know whether they exist.
    public var paths: [String]
    /// Folders whose files are to be read, without those in subfolders, with the most bytes that each folder's files
    /// may have together; each file counts 512 bytes more than it has. Links are not followed.
    public var folders: [String: Int]
    /// Paths of programs whose ELF headers are to be read.
    public var programs: [String]
    /// Whether symbolic links are followed. If not, none is remembered, so an archive may have any number of them.
    public var followsLinks: Bool

    public init(
        files: [String: Int] = [:], paths: [String] = [], folders: [String: Int] = [:], programs: [String] = [],
        followsLinks: Bool = true
    ) {
        self.followsLinks = followsLinks
        self.files = files
        self.paths = paths
        self.folders = folders
        self.programs = programs
    }
}

/// What was found of a `RootfsWatch`. Paths are those of the watch, as the caller wrote them.
public struct RootfsFindings: Sendable, Hashable {
    public enum File: Sendable, Hashable {
        case bytes([UInt8])
        /// The file exists, but has more bytes than the watch allows: so many.
        case tooLarge(Int64)
    }

    public enum Program: Sendable, Hashable {
        /// The path exists, but is no file, or not an executable one.
        case notExecutable
        /// An executable file that is no ELF program.
        case other
        /// An ELF program, and whether the loader that it names exists; false if it names none.
        case elf(ELFProgram, hasLoader: Bool)
    }

    /// The files that were read, by path, those of folders as `folder/name`. A folder that has too many bytes has an
    /// entry of its own, `tooLarge`, and some of its files are missing.
    public let files: [String: File]
    /// The watched programs that exist, by path.
    public let programs: [String: Program]
    /// The watched paths that exist. Symbolic links are followed in the tree; one that leads nowhere does not exist.
    public let existing: Set<String>
}

/// Collects what a `RootfsWatch` asks for from the entries of an archive as they are converted.
struct RootfsObserver {
    private static let maximumLinkBytes = 16 << 20
    private static let maximumFollowed = 40
    /// How many bytes a table's record of two names takes besides the names.
    fileprivate static let recordBytes = 192
    /// How many bytes parsing a file may take at most, since the lists made of it are bounded (`PackageList`).
    private static let parsed: Int64 = 24 << 20

    /// How many bytes a captured file takes until it has been parsed and is released.
    private static func cost(_ size: Int64) -> Int { Int(size + min(8 * size, parsed)) }

    private let watch: RootfsWatch
    private let memory: ArchiveMemory.Share
    private let wanted: [[UInt8]: Int]
    private let folders: [(path: [UInt8], limit: Int)]
    /// For each folder, how many bytes its files count so far.
    private var folderBytes: [Int]
    private var files: [[UInt8]: RootfsFindings.File] = [:]
    private var symbolicLinks: [[UInt8]: [UInt8]] = [:]
    private var hardLinks: [[UInt8]: [UInt8]] = [:]
    private var linkBytes = 0
    private var programs: RootfsPrograms?
    private var capturing: [UInt8]?
    private var captured: [UInt8] = []

    /// - Parameter memory: the share from which remembered files and names take their memory. It must live as long as
    ///   the findings are used.
    init(_ watch: RootfsWatch, memory: ArchiveMemory.Share = ArchiveMemory.Share(of: nil)) {
        self.watch = watch
        self.memory = memory
        programs = watch.programs.isEmpty ? nil : RootfsPrograms(memory: memory)
        wanted = Dictionary(
            watch.files.map { (Self.clean($0.key), $0.value) }, uniquingKeysWith: { max($0, $1) })
        folders = watch.folders.map { (Self.clean($0.key) + [EntryName.slash], $0.value) }
        folderBytes = folders.map { _ in 0 }
    }

    /// - Parameters:
    ///   - name: the entry's clean name in the archive.
    ///   - target: what a hard link leads to, likewise.
    mutating func entry(_ entry: TarEntry, name: [UInt8], target: [UInt8]) throws(ConversionError) {
        try programs?.entry(entry, name: name, target: target)
        switch entry.kind {
        case .file:
            guard let limit = wanted[name] ?? folderLimit(name, entry.size) else { return }
            guard entry.size <= limit else {
                files[name] = .tooLarge(entry.size)
                return
            }
            try memory.take(Self.cost(entry.size) + name.count + Self.recordBytes)
            files[name] = .bytes([])
            if entry.size > 0 {
                capturing = name
                captured.reserveCapacity(Int(entry.size))
            }
        case .symbolicLink where watch.followsLinks:
            try memory.take(name.count + entry.linkName.count + Self.recordBytes)
            linkBytes += name.count + entry.linkName.count + 64
            guard linkBytes <= Self.maximumLinkBytes else {
                throw ConversionError(.tooLarge, "too many symbolic links", entry: name)
            }
            symbolicLinks[name] = entry.linkName
        case .hardLink:
            if wanted[name] != nil { hardLinks[name] = target }
        default: return
        }
    }

    /// The size limit of a file in one of the watch's folders: its own size, so that it is read. nil if the file lies
    /// in none of them, or if its folder's files have too many bytes with it.
    private mutating func folderLimit(_ name: [UInt8], _ size: Int64) -> Int? {
        for (index, folder) in folders.enumerated() where name.starts(with: folder.path) {
            guard !name[folder.path.count...].contains(EntryName.slash) else { continue }
            let cost = Int64(folderBytes[index]) + min(size, Int64(folder.limit)) + 512
            guard cost <= folder.limit else {
                folderBytes[index] = folder.limit
                files[Array(folder.path.dropLast())] = .tooLarge(cost)
                return nil
            }
            folderBytes[index] = Int(cost)
            return Int(size)
        }
        return nil
    }

    mutating func content(_ bytes: Span<UInt8>) {
        bytes.withUnsafeBufferPointer { programs?.content($0) }
        guard capturing != nil else { return }
        bytes.withUnsafeBufferPointer { captured.append(contentsOf: $0) }
    }

    mutating func hole(_ length: Int64) {
        programs?.hole(length)
        guard capturing != nil else { return }
        captured += [UInt8](repeating: 0, count: Int(length))
    }

    mutating func endContent() throws(ConversionError) {
        try programs?.endContent()
        guard let name = capturing else { return }
        files[name] = .bytes(captured)
        capturing = nil
        captured = []
    }

    func findings(_ names: NameTable) -> RootfsFindings {
        var found: [String: RootfsFindings.File] = [:]
        for path in watch.files.keys {
            guard let name = resolve(Self.clean(path), names) else { continue }
            if let file = files[name] ?? hardLinks[name].flatMap({ files[$0] }) { found[path] = file }
        }
        for (path, _) in folders {
            if let folder = files[Array(path.dropLast())] {
                found[String(decoding: path.dropLast(), as: UTF8.self)] = folder
            }
            for (name, file) in files where name.starts(with: path) && names[name]?.kind == .file {
                found[String(decoding: name, as: UTF8.self)] = file
            }
        }
        let existing = watch.paths.filter { resolve(Self.clean($0), names) != nil }
        var programs: [String: RootfsFindings.Program] = [:]
        for path in watch.programs {
            if let name = resolve(Self.clean(path), names) { programs[path] = program(name, names) }
        }
        return RootfsFindings(files: found, programs: programs, existing: Set(existing))
    }

    private func program(_ name: [UInt8], _ names: NameTable) -> RootfsFindings.Program {
        guard let mark = names[name], mark.kind == .file, mark.mode & 0o111 != 0 else { return .notExecutable }
        guard let program = programs?.programs[name] else { return .other }
        guard case .path(let loader) = program.interpreter else { return .elf(program, hasLoader: false) }
        let found = resolve(Self.clean(String(decoding: loader, as: UTF8.self)), names)
        return .elf(program, hasLoader: found.flatMap { names[$0]?.kind } == .file)
    }

    /// The name that a path leads to, symbolic links followed within the tree; nil if there is none.
    private func resolve(_ path: [UInt8], _ names: NameTable) -> [UInt8]? {
        var rest = path.split(separator: EntryName.slash).reversed().map { Array($0) }
        var place: [[UInt8]] = []
        var followed = 0
        while let component = rest.popLast() {
            if component == Array(".".utf8) { continue }
            if component == Array("..".utf8) {
                _ = place.popLast()
                continue
            }
            let name = Array((place + [component]).joined(separator: [EntryName.slash]))
            switch names[name]?.kind {
            case .symbolicLink:
                followed += 1
                guard followed <= Self.maximumFollowed, let target = symbolicLinks[name] else { return nil }
                if target.first == EntryName.slash { place = [] }
                rest += target.split(separator: EntryName.slash).reversed().map { Array($0) }
            case .directory, .impliedDirectory, .file: place.append(component)
            case .dropped, nil: return nil
            }
        }
        return Array(place.joined(separator: [EntryName.slash]))
    }

    private static func clean(_ path: String) -> [UInt8] {
        Array(path.utf8.split(separator: EntryName.slash).joined(separator: [EntryName.slash]))
    }
}

/// The ELF programs of a root filesystem by name, as their heads describe them. A link that comes later may lead to any
/// of them, so all of them are kept, at a few hundred bytes each.
struct RootfsPrograms {
    private static let maximumBytes = 32 << 20

    private let memory: ArchiveMemory.Share
    private(set) var programs: [[UInt8]: ELFProgram] = [:]
    private var bytes = 0
    private var open: [UInt8]?
    private var head: [UInt8] = []

    init(memory: ArchiveMemory.Share) { self.memory = memory }

    mutating func entry(_ entry: TarEntry, name: [UInt8], target: [UInt8]) throws(ConversionError) {
        open = nil
        switch entry.kind {
        case .file where entry.mode & 0o111 != 0 && entry.size > 0:
            open = name
            head.removeAll(keepingCapacity: true)
        case .hardLink:
            if let program = programs[target] { try keep(program, name) }
        default: break
        }
    }

    mutating func content(_ content: UnsafeBufferPointer<UInt8>) {
        guard open != nil, head.count < ELFProgram.headLength else { return }
        head.append(contentsOf: content.prefix(ELFProgram.headLength - head.count))
        // Most executable files of a rootfs are scripts, whose content need not be kept.
        if head.count >= ELFProgram.magic.count, !head.starts(with: ELFProgram.magic) { open = nil }
    }

    mutating func hole(_ length: Int64) {
        guard open != nil, head.count < ELFProgram.headLength else { return }
        head += [UInt8](repeating: 0, count: Int(min(length, Int64(ELFProgram.headLength - head.count))))
    }

    mutating func endContent() throws(ConversionError) {
        guard let name = open else { return }
        open = nil
        if let program = ELFProgram(head: head) { try keep(program, name) }
    }

    private mutating func keep(_ program: ELFProgram, _ name: [UInt8]) throws(ConversionError) {
        var cost = name.count + 128
        if case .path(let loader) = program.interpreter { cost += loader.count }
        bytes += cost
        guard bytes <= Self.maximumBytes else { throw ConversionError(.tooLarge, "too many programs", entry: name) }
        try memory.take(cost + RootfsObserver.recordBytes)
        programs[name] = program
    }
}
