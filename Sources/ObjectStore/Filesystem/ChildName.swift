import Glibc

/// A directory entry's name where it was read, with a `/` behind it if it is a folder's and compared in whole keys.
struct ChildName {
    private let name: UnsafeRawBufferPointer
    let isFolder: Bool

    init(_ name: UnsafeRawBufferPointer, isFolder: Bool) {
        self.name = name
        self.isFolder = isFolder
    }

    var bytes: [UInt8] { isFolder ? [UInt8](name) + [UInt8(ascii: "/")] : [UInt8](name) }

    private var count: Int { name.count + (isFolder ? 1 : 0) }

    /// Whether this name sorts after another one.
    func isAfter(_ other: some ContiguousBytes) -> Bool {
        other.withBytes { other in
            let order = compare(other)
            return order > 0 || order == 0 && count > other.count
        }
    }

    func isBefore(_ other: some ContiguousBytes) -> Bool {
        other.withBytes { other in
            let order = compare(other)
            return order < 0 || order == 0 && count < other.count
        }
    }

    func starts(with other: some ContiguousBytes) -> Bool {
        other.withBytes { count >= $0.count && compare($0) == 0 }
    }

    /// Whether the other text starts with this name.
    func begins(_ other: some ContiguousBytes) -> Bool {
        other.withBytes { count <= $0.count && compare($0) == 0 }
    }

    /// Compares as much as both have.
    private func compare(_ other: UnsafeRawBufferPointer) -> Int32 {
        let common = min(name.count, other.count)
        if common > 0, let left = name.baseAddress, let right = other.baseAddress {
            let order = memcmp(left, right, common)
            if order != 0 { return order }
        }
        guard isFolder, other.count > name.count else { return 0 }
        return Int32(UInt8(ascii: "/")) - Int32(other[name.count])
    }
}

/// Bytes that lie in one piece.
protocol ContiguousBytes {
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value
}

extension [UInt8]: ContiguousBytes {
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value { withUnsafeBytes(body) }
}

extension ArraySlice<UInt8>: ContiguousBytes {
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value { withUnsafeBytes(body) }
}
