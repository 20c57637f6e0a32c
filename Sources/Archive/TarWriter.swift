/// Writes tar headers in one canonical form, so that the same entries always give the same bytes.
///
/// An entry that fits into a ustar header gets that alone; any other gets a PAX header, with its records sorted by key,
/// before it. Sparse files are written as plain ones. The caller writes content and padding.
public enum TarWriter {
    /// A header's length in bytes; content is padded to a multiple of it.
    public static let blockSize = TarHeader.blockSize

    /// How many zero bytes end an archive: two blocks.
    public static let endLength = 2 * TarHeader.blockSize

    /// How many zero bytes follow content of `size` bytes.
    public static func padding(_ size: Int64) -> Int { TarReader.padding(size) }

    /// Appends an entry's header or headers.
    ///
    /// - Parameter entry: a directory's name should end with a slash; `records` are written as they are.
    public static func append(_ entry: TarEntry, to output: inout [UInt8]) {
        var records = entry.records
        func record(_ key: String, _ value: [UInt8]) { records.append(TarRecord(key: key, value: value)) }

        let (prefix, name) = split(entry.name)
        if name == nil { record("path", entry.name) }
        if entry.linkName.count > 100 { record("linkpath", entry.linkName) }
        if entry.size > 0o777_7777_7777 { record("size", Array(String(entry.size).utf8)) }
        if entry.userID > 0o777_7777 { record("uid", Array(String(entry.userID).utf8)) }
        if entry.groupID > 0o777_7777 { record("gid", Array(String(entry.groupID).utf8)) }
        if entry.modified.nanoseconds != 0 || !(0...0o777_7777_7777).contains(entry.modified.seconds) {
            record("mtime", Array(entry.modified.paxText.utf8))
        }
        if records.contains(where: { ($0.key == "path" || $0.key == "linkpath") && !isUTF8($0.value) }) {
            record("hdrcharset", Array("BINARY".utf8))
        }
        if !records.isEmpty { appendPax(records, to: &output) }

        appendBlock(
            name: name ?? Array(entry.name.prefix(100)), prefix: prefix, linkName: entry.linkName, mode: entry.mode,
            userID: entry.userID, groupID: entry.groupID, size: entry.size, seconds: entry.modified.seconds,
            type: type(entry.kind), userName: entry.userName, groupName: entry.groupName, to: &output)
    }

    private static func type(_ kind: TarEntry.Kind) -> UInt8 {
        switch kind {
        case .file: UInt8(ascii: "0")
        case .hardLink: UInt8(ascii: "1")
        case .symbolicLink: UInt8(ascii: "2")
        case .characterDevice: UInt8(ascii: "3")
        case .blockDevice: UInt8(ascii: "4")
        case .directory: UInt8(ascii: "5")
        case .fifo: UInt8(ascii: "6")
        }
    }

    /// Cuts a name into ustar's prefix and name at the last slash that leaves a short enough prefix.
    ///
    /// - Returns: both parts; `nil` for the name if there is no such slash.
    private static func split(_ name: [UInt8]) -> (prefix: [UInt8], name: [UInt8]?) {
        if name.count <= 100 { return ([], name) }
        // A slash at the very end marks a directory, so it stays in the name part.
        guard let slash = name.prefix(min(156, name.count - 1)).lastIndex(of: UInt8(ascii: "/")), slash > 0,
            name.count - slash - 1 <= 100
        else { return ([], nil) }
        return (Array(name[..<slash]), Array(name[(slash + 1)...]))
    }

    private static func appendPax(_ records: [TarRecord], to output: inout [UInt8]) {
        var body: [UInt8] = []
        for record in records.sorted(by: { Array($0.key.utf8).lexicographicallyPrecedes(Array($1.key.utf8)) }) {
            let rest = record.key.utf8.count + record.value.count + 3
            var length = rest + 1
            while length != rest + String(length).utf8.count { length = rest + String(length).utf8.count }
            body += Array("\(length) \(record.key)=".utf8)
            body += record.value
            body.append(UInt8(ascii: "\n"))
        }
        appendBlock(
            name: Array("././@PaxHeader".utf8), prefix: [], linkName: [], mode: 0o644, userID: 0, groupID: 0,
            size: Int64(body.count), seconds: 0, type: UInt8(ascii: "x"), userName: [], groupName: [], to: &output)
        output += body
        output += [UInt8](repeating: 0, count: padding(Int64(body.count)))
    }

    private static func isUTF8(_ bytes: [UInt8]) -> Bool {
        String(validating: bytes, as: UTF8.self) != nil
    }

    private static func appendBlock(
        name: [UInt8], prefix: [UInt8], linkName: [UInt8], mode: UInt32, userID: Int64, groupID: Int64, size: Int64,
        seconds: Int64, type: UInt8, userName: [UInt8], groupName: [UInt8], to output: inout [UInt8]
    ) {
        let start = output.count
        output.append(contentsOf: repeatElement(0, count: TarHeader.blockSize))
        func put(_ bytes: some Collection<UInt8>, _ offset: Int, _ limit: Int) {
            var index = start + offset
            for byte in bytes.prefix(limit) {
                output[index] = byte
                index += 1
            }
        }
        /// Writes octal digits with leading zeros; 0 for a value that does not fit and is in a PAX record instead.
        func octal(_ value: Int64, _ offset: Int, _ digits: Int) {
            var rest = value < 0 || value >> (3 * Int64(digits)) != 0 ? 0 : value
            for index in stride(from: start + offset + digits - 1, through: start + offset, by: -1) {
                output[index] = UInt8(ascii: "0") + UInt8(rest & 7)
                rest >>= 3
            }
        }
        put(name, 0, 100)
        octal(Int64(mode), 100, 7)
        octal(userID, 108, 7)
        octal(groupID, 116, 7)
        octal(size, 124, 11)
        octal(seconds, 136, 11)
        output[start + 156] = type
        put(linkName, 157, 100)
        put("ustar\u{0}00".utf8, 257, 8)
        put(userName, 265, 31)
        put(groupName, 297, 31)
        octal(0, 329, 7)
        octal(0, 337, 7)
        put(prefix, 345, 155)
        var sum: Int64 = 8 * 32
        for byte in output[start...] { sum += Int64(byte) }
        octal(sum, 148, 6)
        output[start + 155] = UInt8(ascii: " ")
    }
}
