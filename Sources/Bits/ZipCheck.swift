import Archive
import Glibc
import Layers
import ObjectStore
import Records

/// Looks into zips that clients sent, before anybody unpacks them.
struct ZipCheck: Sendable {
    /// The largest `manifest.yml` that is read, in bytes.
    private static let maximumManifest = 1 << 20
    /// A checked zip's central directory, in bytes. libarchive takes up to six times as much memory for it.
    static let maximumDirectory: Int64 = 64 << 20

    let memory: ArchiveMemory?
    let limits: ZipReader.Limits

    init(memory: ArchiveMemory?, limits: ZipReader.Limits) {
        var limits = limits
        limits.directoryLength = min(limits.directoryLength, Self.maximumDirectory)
        self.memory = memory
        self.limits = limits
    }

    /// Checks names, links, kinds, counts and stated sizes of all entries. Call it on a thread that may block.
    /// - Parameter readsManifest: whether to return the bytes of the file `manifest.yml`.
    /// - Returns: nil if there is no such file.
    /// - Throws: `.archive`, `.store`.
    func check(
        _ reader: any ObjectReader, readsManifest: Bool
    ) async throws(BitsError) -> [UInt8]? {
        let file = try await ZipDescriptor(reader)
        let share = ArchiveMemory.Share(of: memory)
        do throws(ArchiveError) {
            var zip = try ZipReader(descriptor: file.descriptor, limits: limits, reserve: share.reservation())
            return try Self.check(&zip, readsManifest: readsManifest)
        } catch { throw .archive(error) }
    }

    private static func check(_ zip: inout ZipReader, readsManifest: Bool) throws(ArchiveError) -> [UInt8]? {
        var names = ZipNames()
        var manifest: [UInt8]?
        while let entry = try zip.next() {
            try names.take(entry)
            guard readsManifest, entry.kind == .file, entry.name == Array("manifest.yml".utf8),
                entry.size <= maximumManifest
            else { continue }
            var bytes: [UInt8] = []
            while try zip.withContent({ bytes.append(contentsOf: $0) }) != nil {}
            manifest = bytes
        }
        return manifest
    }
}

/// The names of a zip's entries, by the rules by which they will be unpacked.
struct ZipNames {
    /// Hashes of the names of files and links, of 64 bits: that two different names of one zip have the same one is less
    /// likely than a broken disk.
    private var taken: Set<Int> = []

    /// Takes the next entry's name.
    /// - Throws: `.invalid` if the name is absolute, leads up, or is there already, or if a symbolic link leads out.
    mutating func take(_ entry: ZipEntry) throws(ArchiveError) {
        let parts = try Self.parts(of: entry.name, in: entry)
        guard entry.kind != .directory else { return }
        guard !parts.isEmpty, entry.name.last != UInt8(ascii: "/") else {
            throw ArchiveError.refused("a file or link with the name of a directory", entry)
        }
        if entry.kind == .symbolicLink { try Self.checkTarget(of: entry, depth: parts.count - 1) }
        var hasher = Hasher()
        for part in parts { hasher.combine(part) }
        guard taken.insert(hasher.finalize()).inserted else {
            throw ArchiveError.refused("another entry has this name", entry)
        }
    }

    /// Whether a file of this name was taken.
    func contains(_ name: [UInt8]) -> Bool {
        var hasher = Hasher()
        for part in Self.split(name) { hasher.combine(part) }
        return taken.contains(hasher.finalize())
    }

    private static func split(_ name: [UInt8]) -> [ArraySlice<UInt8>] {
        name.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual(".".utf8) }
    }

    private static func parts(of name: [UInt8], in entry: ZipEntry) throws(ArchiveError) -> [ArraySlice<UInt8>] {
        guard name.first != UInt8(ascii: "/") else { throw ArchiveError.refused("the name is absolute", entry) }
        let parts = split(name)
        guard !parts.contains(where: { $0.elementsEqual("..".utf8) }) else {
            throw ArchiveError.refused("the name contains '..'", entry)
        }
        return parts
    }

    /// Links that go up after they went down are judged by name here; whoever unpacks them judges where they really
    /// lead.
    private static func checkTarget(of entry: ZipEntry, depth: Int) throws(ArchiveError) {
        guard let first = entry.linkName.first else {
            throw ArchiveError.refused("a symbolic link without a target", entry)
        }
        guard first != UInt8(ascii: "/") else {
            throw ArchiveError.refused("a symbolic link to an absolute path", entry)
        }
        var level = depth
        for part in split(entry.linkName) {
            level += part.elementsEqual("..".utf8) ? -1 : 1
            guard level >= 0 else { throw ArchiveError.refused("a symbolic link out of the zip", entry) }
        }
    }
}

/// A descriptor of a regular file that has the bytes of a stored object: the object's own file, or a copy without a name
/// where the store has no files.
final class ZipDescriptor: Sendable {
    let descriptor: Int32

    init(_ reader: any ObjectReader) async throws(BitsError) {
        if let own = (reader as? any FileBackedReader)?.fileDescriptor {
            descriptor = fcntl(own, F_DUPFD_CLOEXEC, 0)
            guard descriptor >= 0 else { throw .store(.io(String(cString: strerror(errno)))) }
            return
        }
        var template = Array("\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/cistern-XXXXXX".utf8CString)
        descriptor = template.withUnsafeMutableBufferPointer { path in
            guard let path = path.baseAddress else { return -1 }
            let opened = mkstemp(path)
            guard opened >= 0 else { return -1 }
            unlink(path)
            _ = fcntl(opened, F_SETFD, FD_CLOEXEC)
            return opened
        }
        guard descriptor >= 0 else { throw .store(.io(String(cString: strerror(errno)))) }
        var offset: Int64 = 0
        while true {
            let bytes = try await BitsError.ofStore(await reader.read(at: offset, maximum: 1 << 20))
            if bytes.isEmpty { return }
            let written = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, off_t(offset)) }
            guard written == bytes.count else { throw .store(.io("a zip can't be copied")) }
            offset += Int64(written)
        }
    }

    deinit { close(descriptor) }
}
