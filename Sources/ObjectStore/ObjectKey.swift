/// An object's name: components joined by `/`.
///
/// A component has 1 to 255 bytes of UTF-8 without NUL and is neither `.` nor `..`; a key has at most 1,024 bytes.
/// Keys are equal and sorted by their bytes, whatever Unicode says.
public struct ObjectKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    public static let maximumLength = 1024
    public static let maximumComponentLength = 255

    public let text: String

    /// - Throws: `ObjectStoreError.invalidKey`.
    public init(_ text: String) throws(ObjectStoreError) {
        let bytes = text.utf8
        guard bytes.count <= Self.maximumLength, !bytes.contains(0) else { throw .invalidKey(text) }
        for component in bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard (1...Self.maximumComponentLength).contains(component.count),
                !component.elementsEqual(".".utf8), !component.elementsEqual("..".utf8)
            else { throw .invalidKey(text) }
        }
        self.text = text
    }

    /// - Parameter text: known to be a valid key.
    init(valid text: String) { self.text = text }

    public var description: String { text }

    public static func == (left: ObjectKey, right: ObjectKey) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

    public static func < (left: ObjectKey, right: ObjectKey) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    public func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
