public import ObjectStore

/// An open file, or something read like one, that is sent as a body.
public struct ResponseFile: Sendable {
    /// In bytes.
    public let length: Int64
    /// A regular file that holds the bytes from offset 0 on; it stays open and unchanged until `close`.
    let descriptor: Int32?
    let read: @Sendable (_ offset: Int64, _ maximum: Int) async throws -> [UInt8]
    let close: @Sendable () async -> Void

    /// - Parameters:
    ///   - descriptor: lets the bytes go out without being read by this process where that is possible.
    ///   - read: bytes from an offset on, at least one and at most `maximum`; asked only if there is no descriptor.
    ///   - close: called once, when nothing is read any more.
    public init(
        length: Int64, descriptor: Int32?,
        read: @escaping @Sendable (_ offset: Int64, _ maximum: Int) async throws -> [UInt8],
        close: @escaping @Sendable () async -> Void
    ) {
        self.length = length
        self.descriptor = descriptor
        self.read = read
        self.close = close
    }
}

extension ResponseFile {
    /// An object of the store. The reader is closed when the response is through.
    public init(_ reader: any ObjectReader) {
        let descriptor = (reader as? any FileBackedReader)?.fileDescriptor
        self.init(length: reader.info.size, descriptor: descriptor) { offset, maximum in
            try await reader.read(at: offset, maximum: maximum)
        } close: {
            await reader.close()
        }
    }

    /// A small document in memory.
    public init(_ bytes: [UInt8]) {
        self.init(length: Int64(bytes.count), descriptor: nil) { offset, maximum in
            Array(bytes.dropFirst(Int(offset)).prefix(maximum))
        } close: {
        }
    }
}
