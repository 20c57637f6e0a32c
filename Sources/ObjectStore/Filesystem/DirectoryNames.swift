import Glibc

/// The names of one directory in order, packed: few bytes more than their text.
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

    /// The next names after one, for a directory whose folders have no `/`.
    func components(after last: [UInt8]?, limit: Int) -> (names: [[UInt8]], isComplete: Bool) {
        var first = 0
        if let last {
            first = lowerBound(last)
            if first < starts.count, name(first).elementsEqual(last) { first += 1 }
        }
        let end = first + min(limit, starts.count - first)
        return ((first..<end).map { Array(name($0)) }, end == starts.count)
    }
}

/// The names of large directories that are being listed page by page, so that each page does not read and sort the
/// whole directory.
///
/// Whoever changes the tree says so while nobody reads it. Among children a name too many does no harm, since a listing
/// looks at each object; a missing one would.
struct LargeDirectories: Sendable {
    /// How a listing needs the names.
    enum Form: Sendable {
        /// Folders end with `/`, which is how they sort among whole keys.
        case children
        /// Folders have no `/`, and nobody looks at what they stand for.
        case components
    }

    /// Smaller directories are read again.
    static let minimumCount = 4096
    /// How many bytes all names together take at most; a larger directory is read again for each page.
    static let maximumCost = 64 << 20

    private var directories: [(path: String, form: Form, names: DirectoryNames)] = []

    subscript(path: String, form: Form) -> DirectoryNames? {
        directories.first { $0.path == path && $0.form == form }?.names
    }

    mutating func add(_ names: DirectoryNames, _ path: String, _ form: Form) {
        guard names.count >= Self.minimumCount, names.cost <= Self.maximumCost else { return }
        remove(path, form)
        directories.append((path, form, names))
        while directories.reduce(0, { $0 + $1.names.cost }) > Self.maximumCost { directories.removeFirst() }
    }

    mutating func remove(_ path: String, _ form: Form) { directories.removeAll { $0.path == path && $0.form == form } }

    /// An object is about to get a place in the tree.
    mutating func willPut(_ key: ObjectKey) {
        removeAll(above: key) { form, names, child in !names.contains(child) }
    }

    /// An object is about to leave the tree, perhaps with folders that become empty.
    mutating func willDelete(_ key: ObjectKey) {
        removeAll(above: key) { form, names, child in form == .components && names.contains(child) }
    }

    private mutating func removeAll(
        above key: ObjectKey, where isOutdated: (Form, DirectoryNames, ArraySlice<UInt8>) -> Bool
    ) {
        guard !directories.isEmpty else { return }
        let text = Array(key.text.utf8)
        directories.removeAll { path, form, names in
            guard text.starts(with: path.utf8) else { return false }
            let rest = text[path.utf8.count...]
            let end = rest.firstIndex(of: UInt8(ascii: "/"))
            return isOutdated(form, names, end.map { form == .children ? rest[...$0] : rest[..<$0] } ?? rest)
        }
    }
}
