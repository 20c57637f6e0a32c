import CArchive
import CLinux
import Glibc

/// Writes a zip through libarchive, piece by piece: the same entries in the same order give the same bytes.
///
/// It does no I/O: what is ready is appended to the caller's bytes. Each entry is `begin`, `write` for a file's
/// content, `end`; `finish` writes the central directory, which is held in memory until then. Zip64 is used where sizes,
/// offsets or the number of entries need it. Lengths and checksums stand behind the contents, since the writer does not
/// go back: programs that read a zip from its start can't read stored files that were written so.
///
/// The entries' old-style times are written in the process's time zone, as zip demands: equal bytes need an equal `TZ`.
public struct ZipWriter: ~Copyable {
    public enum Method: Hashable, Sendable {
        case stored
        /// zlib, level 6. Another version of zlib may give other bytes.
        case deflated
    }

    /// What libarchive writes into, and the archive, which must not outlive it.
    final class Output {
        let archive: OpaquePointer
        var bytes: [UInt8] = []

        init() throws(ArchiveError) {
            guard let archive = archive_write_new() else { throw .noMemory }
            self.archive = archive
        }

        deinit {
            // Otherwise freeing an unfinished archive would first write its end, into this object.
            archive_write_fail(archive)
            archive_write_free(archive)
        }

        func open() -> Int32 {
            archive_write_set_bytes_per_block(archive, 0)
            let result = archive_write_set_format_zip(archive)
            guard result == carchive_ok() else { return result }
            return archive_write_open(
                archive, Unmanaged.passUnretained(self).toOpaque(), nil,
                { _, output, bytes, count in
                    guard let output else { return -1 }
                    Unmanaged<Output>.fromOpaque(output).takeUnretainedValue().bytes
                        .append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
                    return count
                }, nil)
        }
    }

    private let output: Output
    private var archive: OpaquePointer { output.archive }
    /// The entry that was begun, and how many bytes of its content are still to come.
    private var current: (name: [UInt8], missing: Int64)?

    public init() throws(ArchiveError) {
        let output = try Output()
        guard output.open() == carchive_ok() else { throw .invalid(Self.message(output.archive)) }
        self.output = output
    }

    /// Begins an entry.
    ///
    /// - Parameters:
    ///   - entry: its name must be new to the zip. Times outside of 1970 to 2038 are moved to the nearest end.
    ///   - method: how a file's content is kept.
    ///   - bytes: receives what is ready.
    public mutating func begin(
        _ entry: ZipEntry, method: Method = .deflated, into bytes: inout [UInt8]
    ) throws(ArchiveError) {
        let name = entry.name
        guard current == nil else { throw .invalid("an entry was begun before the last one ended", entry: name) }
        guard !name.isEmpty, name.count < 1 << 16, !name.contains(0), !entry.linkName.contains(0),
            entry.kind == .symbolicLink || entry.linkName.isEmpty, entry.size >= 0,
            entry.kind == .file || entry.size == 0
        else { throw .invalid("a zip can't hold this entry", entry: name) }
        guard let header = archive_entry_new() else { throw .noMemory }
        defer { archive_entry_free(header) }
        name.withCString { archive_entry_copy_pathname(header, $0) }
        let type: UInt32
        switch entry.kind {
        case .file: type = carchive_file()
        case .directory: type = carchive_directory()
        case .symbolicLink:
            type = carchive_symlink()
            entry.linkName.withCString { archive_entry_copy_symlink(header, $0) }
        }
        archive_entry_set_mode(header, type | entry.mode & 0o1777)
        archive_entry_set_size(header, entry.size)
        archive_entry_set_mtime(header, Int(min(max(0, entry.modified.seconds), Int64(Int32.max))), 0)
        if method == .stored {
            archive_write_zip_set_compression_store(archive)
        } else {
            archive_write_zip_set_compression_deflate(archive)
        }
        let isUTF8 = String(validating: name, as: UTF8.self) != nil
        guard let locale = isUTF8 ? ZipLocale.unicode : ZipLocale.plain else { throw .noMemory }
        try check(carchive_write_header(archive, header, locale), name)
        current = (name, entry.size)
        take(into: &bytes)
    }

    /// Appends content to the file that was begun, not more than its size.
    public mutating func write(
        _ content: UnsafeRawBufferPointer, into bytes: inout [UInt8]
    ) throws(ArchiveError) {
        guard let (name, missing) = current else { throw .invalid("no entry was begun") }
        guard Int64(content.count) <= missing else { throw .invalid("it has more bytes than it said", entry: name) }
        guard !content.isEmpty else { return }
        let written = archive_write_data(archive, content.baseAddress, content.count)
        guard written == content.count else { throw .invalid(Self.message(archive), entry: name) }
        current?.missing -= Int64(content.count)
        take(into: &bytes)
    }

    /// Ends the entry that was begun.
    public mutating func end(into bytes: inout [UInt8]) throws(ArchiveError) {
        guard let (name, missing) = current else { throw .invalid("no entry was begun") }
        guard missing == 0 else { throw .invalid("it has fewer bytes than it said", entry: name) }
        try check(archive_write_finish_entry(archive), name)
        current = nil
        take(into: &bytes)
    }

    /// Writes the central directory. Nothing may follow.
    public mutating func finish(into bytes: inout [UInt8]) throws(ArchiveError) {
        if let current { throw .invalid("the last entry is not finished", entry: current.name) }
        try check(archive_write_close(archive), nil)
        take(into: &bytes)
    }

    private func take(into bytes: inout [UInt8]) {
        bytes += output.bytes
        output.bytes.removeAll(keepingCapacity: output.bytes.capacity <= TarReader.ordinary)
    }

    private func check(_ result: Int32, _ name: [UInt8]?) throws(ArchiveError) {
        guard result == carchive_ok() else { throw .invalid(Self.message(archive), entry: name) }
    }

    private static func message(_ archive: OpaquePointer) -> String {
        archive_error_string(archive).map { String(cString: $0) } ?? "the zip can't be written"
    }
}
