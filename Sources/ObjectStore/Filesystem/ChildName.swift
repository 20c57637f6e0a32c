import Glibc

/// A directory entry's name, compared in the buffer it was read into. With `isFolder` it counts as if it ended with
/// `/`, which is how a folder's name sorts among whole keys.
struct ChildName {
    private let name: UnsafeRawBufferPointer
    let isFolder: Bool

    init(_ name: UnsafeRawBufferPointer, isFolder: Bool) {
        self.name = name
        self.isFolder = isFolder
    }

    /// A name that has its `/` already, if it is a folder's.
    init(_ name: UnsafeRawBufferPointer) {
        isFolder = name.last == UInt8(ascii: "/")
        self.name = isFolder ? UnsafeRawBufferPointer(rebasing: name.dropLast()) : name
    }

    func append(to bytes: inout [UInt8]) {
        bytes.append(contentsOf: name)
        if isFolder { bytes.append(UInt8(ascii: "/")) }
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

    /// Compares the bytes up to the end of the shorter name, with a result as `memcmp` gives it.
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

/// Bytes that lie contiguously in memory.
protocol ContiguousBytes {
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value
}

extension [UInt8]: ContiguousBytes {
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value { withUnsafeBytes(body) }
}

extension ArraySlice<UInt8>: ContiguousBytes {
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value { withUnsafeBytes(body) }
}
