import AsyncHTTPClient
import NIOCore
import NIOHTTP1
public import OCI

/// A blob of another registry as it comes in. After a cut connection, reading goes on with the first missing byte.
public struct RemoteBlob: AsyncSequence, Sendable {
    public typealias Element = [UInt8]

    let client: RegistryClient
    public let descriptor: Descriptor

    public func makeAsyncIterator() -> Iterator { Iterator(client: client, descriptor: descriptor) }

    public struct Iterator: AsyncIteratorProtocol {
        private let client: RegistryClient
        private let descriptor: Descriptor
        private var hasher: DigestHasher
        private var offset: Int64 = 0
        private var body: HTTPClientResponse.Body.AsyncIterator?
        /// How many bytes of the body are still to be skipped, because the registry sends the blob from its start.
        private var repeated: Int64 = 0
        /// How many times in a row reading has failed since the last byte came.
        private var failures = 0

        init(client: RegistryClient, descriptor: Descriptor) {
            self.client = client
            self.descriptor = descriptor
            hasher = DigestHasher(descriptor.digest.algorithm)
        }

        /// - Throws: `TransferError`; `UnsuitableImage` if the bytes do not have the descriptor's size and digest.
        public mutating func next() async throws -> [UInt8]? {
            while true {
                if body == nil {
                    guard offset < descriptor.size else { return try end() }
                    try await open()
                }
                do {
                    guard let buffer = try await read() else {
                        guard offset < descriptor.size else { return try end() }
                        // A body without a length ends with its connection, so only the size tells that it was cut.
                        try await failed(nil)
                        continue
                    }
                    let again = Swift.min(Int64(buffer.readableBytes), repeated)
                    repeated -= again
                    let bytes = Array(buffer.readableBytesView.dropFirst(Int(again)))
                    guard !bytes.isEmpty else { continue }
                    guard Int64(bytes.count) <= descriptor.size - offset else {
                        throw UnsuitableImage(
                            "the registry's \(descriptor.digest) has more than \(descriptor.size) bytes")
                    }
                    offset += Int64(bytes.count)
                    hasher.update(bytes)
                    failures = 0
                    return bytes
                } catch {
                    guard RegistryClient.mayGetBetter(error) else { throw client.failure(error) }
                    try await failed(error)
                }
            }
        }

        private mutating func read() async throws -> ByteBuffer? {
            var body = body
            defer { self.body = body }
            return try await body?.next()
        }

        private mutating func open() async throws {
            let response = try await client.get("blobs/\(descriptor.digest)", accept: ["*/*"], from: offset)
            repeated = response.status.code == 206 ? 0 : offset
            if response.status.code == 206 {
                let range = response.headers.first(name: "Content-Range") ?? ""
                guard range.hasPrefix("bytes \(offset)-") else {
                    throw client.refused("it sends another part of \(descriptor.digest) than it was asked for")
                }
            }
            body = response.body.makeAsyncIterator()
        }

        private mutating func failed(_ error: (any Error)?) async throws {
            body = nil
            failures += 1
            guard failures < RegistryClient.maximumAttempts else {
                throw error.map { client.failure($0) }
                    ?? client.refused("\(descriptor.digest) ends after \(offset) of \(descriptor.size) bytes")
            }
            try await client.wait(failures)
        }

        private func end() throws -> [UInt8]? {
            guard hasher.finish() == descriptor.digest else {
                throw UnsuitableImage(
                    "what the registry \(client.location.host) calls \(descriptor.digest) has other bytes")
            }
            return nil
        }
    }
}
