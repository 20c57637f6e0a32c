import AsyncHTTPClient
import JSON
import NIOCore
import NIOHTTP1
import OCI

extension ServerClient {
    /// What was written into a file.
    public struct Download: Sendable {
        /// In bytes.
        public let size: Int64
        /// As the server named it, and as the bytes are.
        public let digest: String
    }

    /// Writes an answer's body into a new file, which is there whole or not at all. Its digest has to be the one that the
    /// answer's `ETag` says.
    /// - Parameter progress: called with the bytes received so far.
    public func download(
        _ path: String, to file: String, progress: @Sendable (Int64) -> Void
    ) async throws -> Download {
        let target = try DownloadFile(path: file)
        let response: HTTPClientResponse
        do { response = try await http.execute(request("GET", path), timeout: .hours(24)) } catch {
            throw TransferError.connection(server: connection.url, reason: reason(error))
        }
        guard response.status == .ok else {
            let body = try? await response.body.collect(upTo: 64 << 10)
            throw Self.refusal(response, body.flatMap { try? JSONValue(parsing: $0.readableBytesView) })
        }
        let tag = response.headers.first(name: "ETag")?.filter { $0 != "\"" } ?? ""
        guard let announced = try? Digest(parsing: tag) else {
            throw TransferError.unexpected("it does not say what the file's digest is")
        }
        var hasher = DigestHasher(announced.algorithm)
        var size: Int64 = 0
        do {
            for try await buffer in response.body {
                try target.write(Array(buffer.readableBytesView))
                hasher.update(buffer.readableBytesView)
                size += Int64(buffer.readableBytes)
                progress(size)
            }
        } catch let error as TransferError {
            throw error
        } catch {
            throw TransferError.connection(server: connection.url, reason: reason(error))
        }
        guard hasher.finish() == announced else {
            throw TransferError.unexpected("the bytes received are not \(announced): try again")
        }
        try target.finish()
        return Download(size: size, digest: announced.description)
    }
}
