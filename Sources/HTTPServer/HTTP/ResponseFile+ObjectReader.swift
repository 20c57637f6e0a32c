public import ObjectStore

extension ResponseFile {
    /// An object of the store. The reader is closed when the response is through.
    public init(_ reader: any ObjectReader) {
        self.init(length: reader.info.size, descriptor: reader.fileDescriptor) { offset, maximum in
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
