import Glibc

/// Fields of one stanza of a package database. Only the wanted ones are kept, and only the first line of each.
struct PackageStanza {
    /// The longest name, version, architecture or source package, in bytes.
    static let maximumWord = 256
    /// The longest license, in bytes.
    static let maximumLicense = 1024

    private let wanted: [String]
    private var values: [ArraySlice<UInt8>?]
    /// Whether a wanted field comes twice, or a line is no field.
    private(set) var isMalformed = false
    private(set) var isEmpty = true

    init(_ wanted: [String]) {
        self.wanted = wanted
        values = wanted.map { _ in nil }
    }

    mutating func add(_ line: ArraySlice<UInt8>) {
        isEmpty = false
        // A blank begins a further line of the field before, which is not kept.
        if line.first == UInt8(ascii: " ") || line.first == UInt8(ascii: "\t") { return }
        guard let colon = line.prefix(Self.maximumWord).firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex
        else {
            isMalformed = true
            return
        }
        let name = line[..<colon]
        guard let index = wanted.firstIndex(where: { $0.utf8.elementsEqual(name) }) else { return }
        if values[index] != nil { isMalformed = true }
        values[index] = line[(colon + 1)...].trimmingBlanks
    }

    func value(_ name: String) -> ArraySlice<UInt8>? {
        wanted.firstIndex(of: name).flatMap { values[$0] }
    }

    /// The field as a package's name, or its architecture: `[A-Za-z0-9][A-Za-z0-9+._-]*`; nil if it is none.
    func name(_ field: String) -> String? { value(field).flatMap(packageName) }

    /// The field as a version: letters, digits and `+ - . : _ ~`; nil if it is none.
    func version(_ field: String) -> String? { value(field).flatMap(packageVersion) }
}

package func packageName(_ bytes: ArraySlice<UInt8>) -> String? {
    guard let first = bytes.first, first.isLetterOrDigit else { return nil }
    return word(bytes, besides: "+._-")
}

package func packageVersion(_ bytes: ArraySlice<UInt8>) -> String? { word(bytes, besides: "+-.:_~") }

private func word(_ bytes: ArraySlice<UInt8>, besides others: StaticString) -> String? {
    guard (1...PackageStanza.maximumWord).contains(bytes.count) else { return nil }
    let others = UnsafeBufferPointer(start: others.utf8Start, count: others.utf8CodeUnitCount)
    guard bytes.allSatisfy({ $0.isLetterOrDigit || others.contains($0) }) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
}

/// Calls a body with each line of a text, without its newline.
package func forEachLine(_ bytes: [UInt8], _ body: (ArraySlice<UInt8>) -> Void) {
    var start = 0
    while start < bytes.count {
        let end = bytes.withUnsafeBytes { buffer -> Int in
            guard let base = buffer.baseAddress,
                let found = memchr(base + start, Int32(UInt8(ascii: "\n")), buffer.count - start)
            else { return buffer.count }
            return UnsafeRawPointer(found) - base
        }
        body(bytes[start..<end])
        start = end + 1
    }
}

extension ArraySlice<UInt8> {
    fileprivate var trimmingBlanks: Self {
        var rest = self
        while let first = rest.first, first == 0x20 || first == 0x09 { rest.removeFirst() }
        while let last = rest.last, last == 0x20 || last == 0x09 || last == 0x0D { rest.removeLast() }
        return rest
    }
}

extension UInt8 {
    fileprivate var isLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: false
        }
    }
}
