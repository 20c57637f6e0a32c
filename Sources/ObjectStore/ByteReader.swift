import Glibc

/// Reads values from the front of a buffer, one after the other. Each read returns nil if too few bytes are left.
package struct ByteReader {
    private let source: UnsafeRawBufferPointer
    private var offset = 0

    package init(_ source: UnsafeRawBufferPointer) { self.source = source }

    package var isAtEnd: Bool { offset == source.count }

    private mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= source.count - offset else { return nil }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: source[offset..<offset + count])
    }

    package mutating func integer<Value: FixedWidthInteger>(_ type: Value.Type) -> Value? {
        take(MemoryLayout<Value>.size).map { Value(littleEndian: $0.loadUnaligned(as: type)) }
    }

    /// Reads a number of little-endian integers.
    /// - Returns: nil if too few bytes are left.
    package mutating func unsignedIntegers(_ count: Int) -> [UInt64]? {
        let size = MemoryLayout<UInt64>.size
        guard count <= (source.count - offset) / size, let bytes = take(count * size) else { return nil }
        return (0..<count).map { index in
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index * size, as: UInt64.self))
        }
    }

    package mutating func bytes(_ count: Int) -> [UInt8]? { take(count).map { [UInt8]($0) } }

    /// Reads a number of bytes as text.
    /// - Returns: nil if too few bytes are left or they are not valid UTF-8.
    package mutating func text(_ count: Int) -> String? {
        take(count).flatMap { String(validating: $0, as: UTF8.self) }
    }
}

extension [UInt8] {
    package mutating func append(integer: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: integer.littleEndian) { append(contentsOf: $0) }
    }

    /// `withUnsafeBytes` that keeps the error's type.
    package func withRawBytes<Value, Failure>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let result: Result<Value, Failure> = withUnsafeBytes { bytes in
            do throws(Failure) { return .success(try body(bytes)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

extension String {
    /// Whether this text's bytes sort before the other's. (`<` compares Unicode's canonical forms.)
    func isByteBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }

    /// Whether this text's bytes begin with the prefix's. It compares memory directly, since each listing calls it for
    /// every pending change.
    func hasBytePrefix(_ prefix: String) -> Bool {
        let isPrefix = utf8.withContiguousStorageIfAvailable { bytes in
            prefix.utf8.withContiguousStorageIfAvailable { prefix in
                guard prefix.count <= bytes.count else { return false }
                guard let start = bytes.baseAddress, let other = prefix.baseAddress else { return prefix.isEmpty }
                return memcmp(start, other, prefix.count) == 0
            }
        }
        return isPrefix.flatMap { $0 } ?? utf8.starts(with: prefix.utf8)
    }
}
