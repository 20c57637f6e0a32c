import Glibc

/// The names of one directory in order, folders with a `/` at their end, packed: few bytes more than their text.
struct DirectoryNames: Sendable {
    /// Each name, ended by a zero, which no name has.
    private var bytes: [UInt8] = [0]
    /// Where each name begins.
    private var starts: [UInt32] = []

    var count: Int { starts.count }
    /// How much memory they take, in bytes.
    var cost: Int { bytes.count + 4 * starts.count }

    /// Adds a name; the order comes with `sort`. Names beyond 4 GiB together are left out.
    mutating func append(_ name: ChildName) {
        guard let start = UInt32(exactly: bytes.count) else { return }
        starts.append(start)
        name.append(to: &bytes)
        bytes.append(0)
    }

    mutating func sort() {
        let unsorted = starts
        starts = withNames { names in unsorted.sorted { strcmp(names + Int($0), names + Int($1)) < 0 } }
    }

    /// Gives the beginning of all names, each ended by a zero.
    private func withNames<Value>(_ body: (UnsafePointer<CChar>) -> Value) -> Value {
        bytes.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { names in
                // There is a zero at least, so there is an address.
                names.baseAddress.map(body) ?? withUnsafePointer(to: 0, body)
            }
        }
    }

    /// The first name that is not before some text, which has no zero byte.
    private func lowerBound(_ text: some Sequence<UInt8>) -> Int {
        let text = text.map { CChar(bitPattern: $0) } + [0]
        return withNames { names in
            var (low, high) = (0, starts.count)
            while low < high {
                let middle = (low + high) / 2
                if strcmp(names + Int(starts[middle]), text) < 0 { low = middle + 1 } else { high = middle }
            }
            return low
        }
    }

    private func name(_ index: Int) -> ArraySlice<UInt8> {
        let start = Int(starts[index])
        return bytes[start..<start + withNames { strlen($0 + start) }]
    }

    func contains(_ name: ArraySlice<UInt8>) -> Bool {
        let index = lowerBound(name)
        return index < starts.count && self.name(index) == name
    }

    /// Selects children as a pass over the directory would.
    func children(_ selection: ChildSelection) -> (names: [[UInt8]], isComplete: Bool) {
        var names: [[UInt8]] = []
        for index in lowerBound(selection.lowest)..<starts.count {
            let (isPast, child) = name(index).withUnsafeBytes { bytes in
                let child = ChildName(bytes)
                return (selection.isPast(child), selection.wants(child) ? child.bytes : nil)
            }
            if isPast { break }
            guard let child else { continue }
            if names.count == selection.limit { return (names, false) }
            names.append(child)
        }
        return (names, true)
    }
}

/// The names of large directories that are being listed page by page, so that each page does not read and sort the
/// whole directory.
///
/// Whoever changes the tree says so while nobody reads it. A name too many does no harm, since a listing looks at each
/// object; a missing one would.
struct LargeDirectories: Sendable {
    /// Smaller directories are read again.
    static let minimumCount = 4096
    /// How many bytes all names together take at most; a larger directory is read again for each page.
    static let maximumCost = 64 << 20

    private var directories: [(path: String, names: DirectoryNames)] = []

    subscript(path: String) -> DirectoryNames? { directories.first { $0.path == path }?.names }

    mutating func add(_ names: DirectoryNames, _ path: String) {
        guard names.count >= Self.minimumCount, names.cost <= Self.maximumCost else { return }
        remove(path)
        directories.append((path, names))
        while directories.reduce(0, { $0 + $1.names.cost }) > Self.maximumCost { directories.removeFirst() }
    }

    mutating func remove(_ path: String) { directories.removeAll { $0.path == path } }

    /// An object is about to get a place in the tree.
    mutating func willPut(_ key: ObjectKey) {
        guard !directories.isEmpty else { return }
        let text = Array(key.text.utf8)
        directories.removeAll { path, names in
            guard text.starts(with: path.utf8) else { return false }
            let rest = text[path.utf8.count...]
            let child = rest.firstIndex(of: UInt8(ascii: "/")).map { rest[...$0] } ?? rest
            return !names.contains(child)
        }
    }
}
