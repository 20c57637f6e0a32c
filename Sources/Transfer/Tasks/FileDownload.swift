import AsyncHTTPClient
import CLinux
import Glibc
import NIOCore
import NIOHTTP1
package import OCI

/// A checksum that a download must have.
package struct ExpectedChecksum: Hashable, Sendable, CustomStringConvertible {
    package enum Algorithm: String, Hashable, Sendable, CaseIterable {
        case sha256
        case sha512
        case sha1
        case md5

        var hexLength: Int {
            switch self {
            case .sha256: 64
            case .sha512: 128
            case .sha1: 40
            case .md5: 32
            }
        }
    }

    package let algorithm: Algorithm
    /// Lower-case hexadecimal.
    package let hex: String

    /// - Parameters:
    ///   - algorithm: `sha256`, `sha512`, `sha1` or `md5`; upper case and a dash (`SHA-256`) are understood.
    ///   - value: hexadecimal.
    /// - Throws: `TransferFailure`, `.invalid`.
    package init(algorithm: String, value: String) throws(TransferFailure) {
        let name = algorithm.lowercased().filter { $0 != "-" }
        let hex = value.lowercased()
        guard let algorithm = Algorithm(rawValue: name) else {
            throw TransferFailure(
                .invalid, "the checksum algorithm '\(algorithm.prefix(32))' is none of sha256, sha512, sha1, md5")
        }
        guard hex.utf8.count == algorithm.hexLength, hex.allSatisfy({ $0.isHexDigit && $0.isASCII }) else {
            throw TransferFailure(.invalid, "a \(name) checksum has \(algorithm.hexLength) hexadecimal digits")
        }
        self.algorithm = algorithm
        self.hex = hex
    }

    package var description: String { "\(algorithm.rawValue):\(hex)" }
}

/// A file that was downloaded.
package struct DownloadedFile: Hashable, Sendable {
    /// Bytes.
    package let size: Int64
    /// SHA-256.
    package let digest: Digest
}

/// The file that a download is written into. It gets its name when it is whole; until then it is called
/// `<name>.partial`, and the next download of that name overwrites it.
private final class PartialFile {
    private let path: String
    private let partial: String
    private let descriptor: Int32
    private(set) var size: Int64 = 0
    private var sha256 = DigestHasher(.sha256)
    private var sha512 = DigestHasher(.sha512)
    private var sha1 = SHA1Hasher()
    private var md5 = MD5Hasher()
    private let checksum: ExpectedChecksum?
    private let limit: Int64
    /// The strong validator of the answer that came in part (RFC 9110, section 8.8.3).
    var tag: String?
    /// The whole file's size in bytes, where the answer said it.
    var total: Int64?

    init(path: String, checksum: ExpectedChecksum?, limit: Int64) throws(TransferFailure) {
        self.path = path
        self.checksum = checksum
        self.limit = limit
        partial = path + ".partial"
        if unlink(partial) != 0, errno != ENOENT { throw .file(partial) }
        descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else { throw .file(partial) }
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(partial)
    }

    /// Starts again with an empty file.
    func reset() throws(TransferFailure) {
        tag = nil
        total = nil
        guard size > 0 else { return }
        guard ftruncate(descriptor, 0) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else { throw .file(path) }
        size = 0
        sha256 = DigestHasher(.sha256)
        sha512 = DigestHasher(.sha512)
        sha1 = SHA1Hasher()
        md5 = MD5Hasher()
    }

    /// Whether `Content-Range: bytes FIRST-LAST/TOTAL` goes on where the file ends.
    func continues(_ range: String) -> Bool {
        guard size > 0, range.hasPrefix("bytes \(size)-") else { return false }
        guard let end = range.split(separator: "/").last, let whole = Int64(end) else { return true }
        return total == nil || total == whole
    }

    func checkLimit(_ size: Int64) throws(TransferFailure) {
        guard size <= limit else {
            throw TransferFailure(.tooLarge, "there are more than \(limit) bytes: that is the limit")
        }
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws(TransferFailure) {
        try checkLimit(size + Int64(bytes.count))
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .file(path, count < 0 ? errno : ENOSPC) }
            done += count
        }
        size += Int64(bytes.count)
        sha256.update(bytes)
        switch checksum?.algorithm {
        case .sha512: sha512.update(bytes)
        case .sha1: sha1.update(bytes)
        case .md5: md5.update(bytes)
        case .sha256, nil: break
        }
    }

    /// Checks the bytes and gives the file its name, on disk.
    func finish() throws(TransferFailure) -> DownloadedFile {
        let digest = sha256.finish()
        if let checksum {
            let found =
                switch checksum.algorithm {
                case .sha256: digest.hex
                case .sha512: sha512.finish().hex
                case .sha1: sha1.finish()
                case .md5: hexadecimal(md5.bytes())
                }
            guard found == checksum.hex else {
                throw TransferFailure(
                    .corrupt, "the bytes have \(checksum.algorithm.rawValue) \(found), not \(checksum.hex)")
            }
        }
        guard fsync(descriptor) == 0, rename(partial, path) == 0 else { throw .file(path) }
        return DownloadedFile(size: size, digest: digest)
    }
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

extension TaskClient {
    /// Downloads a file: streamed to disk, checked, and there under its name when it is whole, or not at all.
    ///
    /// After a cut it goes on with the first missing byte (`Range` and `If-Range`), if the answer had an `ETag` to know
    /// the file again by or a checksum will tell; if the server ignores that, it starts again.
    /// - Parameters:
    ///   - path: the file's name; a file of that name is replaced. Its directory must exist.
    ///   - limit: bytes.
    /// - Throws: `TransferFailure`, `CancellationError`.
    package func download(
        _ url: TransferURL, to path: String, checksum: ExpectedChecksum? = nil, limit: Int64,
        log: @Sendable (String) -> Void = { _ in }
    ) async throws -> DownloadedFile {
        let file = try PartialFile(path: path, checksum: checksum, limit: limit)
        try await retrying(url, log: log) { deadline, progress in
            let start = file.size
            defer { progress = file.size > start }
            try await receive(url, into: file, canResume: checksum != nil, deadline)
        }
        do { return try file.finish() } catch {
            throw TransferFailure(error.kind, "\(url): \(error.description)")
        }
    }

    /// One attempt: returns when all bytes are there.
    private func receive(
        _ url: TransferURL, into file: PartialFile, canResume: Bool, _ deadline: ContinuousClock.Instant
    ) async throws {
        var request = Request(method: .GET, url: url)
        // What is fetched are archives; a coding of the transfer would change the bytes that are hashed.
        request.headers.add(name: "Accept-Encoding", value: "identity")
        if file.size > 0, file.tag != nil || canResume {
            request.headers.add(name: "Range", value: "bytes=\(file.size)-")
            if let tag = file.tag { request.headers.add(name: "If-Range", value: tag) }
        }
        try await exchange(request, deadline: deadline) { response, last in
            switch response.status.code {
            case 200:
                try file.reset()
                file.total = response.headers.first(name: "Content-Length").flatMap { Int64($0) }
                file.tag = response.headers.first(name: "ETag").flatMap { $0.hasPrefix("\"") ? $0 : nil }
            case 206 where file.continues(response.headers.first(name: "Content-Range") ?? ""): break
            case 206, 416:
                // It sends another part than was asked for, or its file is another one by now.
                try file.reset()
                throw TransferFailure(.unreachable, "\(last): the server sends another part than was asked for")
            default: throw await refusal(response, last)
            }
            do {
                try file.checkLimit(file.total ?? 0)
                for try await buffer in response.body {
                    guard ContinuousClock.now < deadline else {
                        throw TransferFailure(.timedOut, "not done within \(times.whole)")
                    }
                    try buffer.withUnsafeReadableBytes { (bytes) throws(TransferFailure) in try file.append(bytes) }
                }
            } catch let error as TransferFailure {
                throw TransferFailure(error.kind, "\(last): \(error.description)", mayGetBetter: false)
            }
            // A body without a length ends with its connection.
            guard file.total == nil || file.size == file.total else {
                throw TransferFailure(.unreachable, "\(last): the connection breaks off")
            }
        }
    }
}
