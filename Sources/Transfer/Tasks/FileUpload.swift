import AsyncHTTPClient
import CLinux
import Glibc
package import JSON
import NIOCore
import NIOHTTP1
package import OCI

/// How a server takes an upload.
package enum UploadForm: String, Hashable, Sendable, CaseIterable {
    /// `PUT` of the raw bytes: Cistern's own `/droplets/<guid>`.
    case put
    /// `POST` of the raw bytes: cc-uploader, as the predecessor's uploader did.
    case post
    /// `POST` of a form (RFC 7578) with the field `upload[droplet]`: the cloud controller itself.
    case multipart
}

extension UploadFile {
    /// Opens a file that another step left in a directory that it could write as it liked. Only what that step made
    /// itself is taken: a regular file, not a link to one, with no other name, since a hard link is a way to have
    /// somebody else's file sent. A pipe that nobody writes to is not waited for.
    /// - Parameters:
    ///   - name: a name in the directory.
    ///   - limit: bytes.
    /// - Returns: nil if there is no such file.
    /// - Throws: `TransferFailure`.
    package static func made(
        _ name: String, in directory: String, limit: Int64
    ) throws(TransferFailure) -> UploadFile? {
        let path = "\(directory)/\(name)"
        let parent = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard parent >= 0 else { throw .file(directory) }
        defer { close(parent) }
        let descriptor = openat(parent, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
        if descriptor < 0, errno == ENOENT { return nil }
        guard descriptor >= 0 else {
            throw errno == ELOOP ? TransferFailure(.file, "\(path) is a symbolic link") : .file(path)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw TransferFailure(.file, "\(path) is no regular file")
        }
        guard status.st_nlink == 1 else {
            close(descriptor)
            throw TransferFailure(.file, "\(path) has other names, so that it may be somebody else's file")
        }
        guard Int64(status.st_size) <= limit else {
            close(descriptor)
            throw TransferFailure(.tooLarge, "\(path) has \(status.st_size) bytes: the limit is \(limit)")
        }
        return UploadFile(path: path, size: Int64(status.st_size), descriptor: descriptor)
    }
}

/// A file to be uploaded, with its checksums. Its bytes are read twice: for the checksums, which are sent before them,
/// and to be sent. A server that checks them refuses what has changed in between; one that does not is protected by the
/// count of bytes and by the second hash, without which the last block is not sent.
package struct Upload: Sendable {
    let file: UploadFile
    package let digest: Digest
    private let md5: [UInt8]

    package var size: Int64 { file.size }

    /// - Throws: `TransferFailure`.
    package init(_ file: UploadFile) throws(TransferFailure) {
        self.file = file
        var sha256 = DigestHasher(.sha256)
        var md5 = MD5Hasher()
        var offset: Int64 = 0
        do {
            while offset < file.size {
                let bytes = try file.read(at: offset, maximum: Int(min(1 << 20, file.size - offset)))
                guard !bytes.isEmpty else {
                    throw TransferError.file(path: file.path, reason: "the file became shorter while it was read")
                }
                bytes.withUnsafeBytes {
                    sha256.update($0)
                    md5.update($0)
                }
                offset += Int64(bytes.count)
            }
        } catch { throw TransferFailure(.file, "\(error)") }
        digest = sha256.finish()
        self.md5 = md5.bytes()
    }

    /// What is sent beside the bytes. `Digest` (RFC 3230) is what Cistern checks; `Content-Digest` (RFC 9530) and
    /// `Content-MD5` are what the controller and cc-uploader check. All are of the file, also where it is sent in a
    /// form: that is what the controller compares them with.
    var checksumHeaders: [(String, String)] {
        let base64 = Base64.encode(digest.hex.hexadecimalBytes)
        return [
            ("Digest", "sha256=\(digest.hex)"), ("Content-Digest", "sha-256=:\(base64):"),
            ("Content-MD5", Base64.encode(md5)),
        ]
    }

    struct Prepared: Sendable {
        let method: HTTPMethod
        let headers: HTTPHeaders
        let prefix: [UInt8]
        let suffix: [UInt8]
    }

    func prepared(as form: UploadForm) -> Prepared {
        guard form == .multipart else {
            var headers: HTTPHeaders = ["Content-Type": "application/octet-stream"]
            for (name, value) in checksumHeaders { headers.add(name: name, value: value) }
            return Prepared(method: form == .put ? .PUT : .POST, headers: headers, prefix: [], suffix: [])
        }
        // The digest makes a boundary that the content can't be made to contain.
        let boundary = "cistern-\(digest.hex.prefix(40))"
        let name = file.path.split(separator: "/").last ?? "droplet.tgz"
        let part =
            "--\(boundary)\r\nContent-Disposition: form-data; name=\"upload[droplet]\"; filename=\"\(name)\"\r\n"
            + "Content-Type: application/octet-stream\r\n\r\n"
        var headers: HTTPHeaders = ["Content-Type": "multipart/form-data; boundary=\(boundary)"]
        for (name, value) in checksumHeaders { headers.add(name: name, value: value) }
        return Prepared(
            method: .POST, headers: headers, prefix: Array(part.utf8), suffix: Array("\r\n--\(boundary)--\r\n".utf8))
    }
}

extension String {
    /// The bytes of an even number of hexadecimal digits.
    fileprivate var hexadecimalBytes: [UInt8] {
        let digits = Array(utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16) ?? 0
        }
    }
}

/// The blocks of an upload: a prefix, the file, a suffix. The last block of the file comes only if the whole file still
/// has its digest.
struct UploadChunks: AsyncSequence, Sendable {
    let file: UploadFile
    let digest: Digest
    let prepared: Upload.Prepared
    let deadline: ContinuousClock.Instant

    func makeAsyncIterator() -> Iterator { Iterator(chunks: self) }

    struct Iterator: AsyncIteratorProtocol {
        let chunks: UploadChunks
        var offset: Int64 = -1
        var isDone = false
        var hasher = DigestHasher(.sha256)

        mutating func next() async throws -> ByteBuffer? {
            guard ContinuousClock.now < chunks.deadline else {
                throw TransferFailure(.timedOut, "\(chunks.file.path): not sent in time")
            }
            let size = chunks.file.size
            if offset < 0 {
                offset = 0
                if !chunks.prepared.prefix.isEmpty { return ByteBuffer(bytes: chunks.prepared.prefix) }
            }
            if offset < size {
                let bytes: [UInt8]
                do { bytes = try chunks.file.read(at: offset, maximum: Int(Swift.min(256 << 10, size - offset))) } catch
                {
                    throw TransferFailure(.file, "\(error)")
                }
                hasher.update(bytes)
                offset += Int64(bytes.count)
                guard !bytes.isEmpty, offset < size || hasher.finish() == chunks.digest else {
                    throw TransferFailure(.file, "\(chunks.file.path) changes while it is sent")
                }
                return ByteBuffer(bytes: bytes)
            }
            guard !isDone, !chunks.prepared.suffix.isEmpty else { return nil }
            isDone = true
            return ByteBuffer(bytes: chunks.prepared.suffix)
        }
    }
}

extension TaskClient {
    /// Uploads a file, again until the server has said that it has it.
    ///
    /// Sending again after an answer that was lost is safe: the URL names one droplet or cache of one task, and the
    /// bytes are the same, which their digest tells. Cistern finds the droplet that it has and answers as before; the
    /// controller and cc-uploader replace what they have by the same.
    /// - Parameter headers: sent besides.
    /// - Throws: `TransferFailure`, `CancellationError`.
    package func upload(
        _ upload: Upload, to url: TransferURL, as form: UploadForm, headers: [(String, String)] = [],
        log: @Sendable (String) -> Void = { _ in }
    ) async throws {
        let prepared = upload.prepared(as: form)
        let headers = HTTPHeaders(prepared.headers.map { ($0.name, $0.value) } + headers)
        let length = Int64(prepared.prefix.count) + upload.size + Int64(prepared.suffix.count)
        try await retrying(url, log: log) { deadline, _ in
            let chunks = UploadChunks(
                file: upload.file, digest: upload.digest, prepared: prepared, deadline: deadline)
            let request = Request(method: prepared.method, url: url, headers: headers) {
                .stream(chunks, length: .known(length))
            }
            try await send(request, deadline)
        }
    }

    /// Sends a JSON document, again until the server has said that it has it.
    /// - Throws: `TransferFailure`, `CancellationError`.
    func send(
        _ json: JSONValue, _ method: HTTPMethod, to url: TransferURL, log: @Sendable (String) -> Void
    ) async throws {
        let bytes = json.canonicalBytes
        try await retrying(url, log: log) { deadline, _ in
            let request = Request(method: method, url: url, headers: ["Content-Type": "application/json"]) {
                .bytes(ByteBuffer(bytes: bytes))
            }
            try await send(request, deadline)
        }
    }

    /// Posts a JSON document, likewise.
    package func post(_ json: JSONValue, to url: TransferURL) async throws {
        try await send(json, .POST, to: url) { _ in }
    }

    private func send(_ request: Request, _ deadline: ContinuousClock.Instant) async throws {
        try await exchange(request, deadline: deadline) { response, last in
            guard (200..<300).contains(response.status.code) else { throw await refusal(response, last) }
            // The answer's end says that the server has done all that it wanted to do.
            _ = try? await response.body.collect(upTo: 1 << 20)
        }
    }
}
