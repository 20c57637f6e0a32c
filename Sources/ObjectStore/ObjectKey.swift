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

/// Why a store did not do what it was asked.
public enum ObjectStoreError: Error, Hashable, Sendable {
    case missing(ObjectKey)
    /// A conditional put found an object.
    case exists(ObjectKey)
    /// The object is another version than the caller's: read it again.
    case changed(ObjectKey)
    case invalidKey(String)
    case tooLarge(ObjectKey, size: Int64)
    /// No space, no inodes or over quota.
    case full
    /// The store is read-only or may not be written by this process.
    case permission(String)
    /// Another process owns the store; the text says which.
    case owned(String)
    /// The store failed, and did not do what was asked.
    case io(String)
    /// The answer was lost: the change may have been made, or may be made yet. Read back before anything is undone.
    case unknown(String)
    /// The caller's task was cancelled, or the store is shut down.
    case cancelled
}

extension ObjectStoreError {
    /// Whether the change that was asked for may have been made, or may be made yet.
    public var isOutcomeUnknown: Bool { if case .unknown = self { true } else { false } }
}

extension ObjectStoreError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .missing(let key): "there is no object \(key)"
        case .exists(let key): "\(key) is already there"
        case .changed(let key): "\(key) was changed meanwhile"
        case .invalidKey(let text): "'\(text)' can't be a key"
        case .tooLarge(let key, let size): "\(key) is too large to be read or written whole (\(size) bytes)"
        case .full: "the store is full: free some space or raise the quota"
        case .permission(let reason): "the store can't be written: \(reason)"
        case .owned(let owner): "the store is in use by \(owner)"
        case .io(let reason): "the store failed: \(reason)"
        case .unknown(let reason): "the store did not say whether it did what was asked: \(reason)"
        case .cancelled: "cancelled"
        }
    }
}

extension PutCondition {
    /// Checks the condition.
    /// - Parameter current: the object's version; nil if there is no object.
    /// - Throws: `.exists`, `.missing` or `.changed` if the condition does not hold.
    func check(_ key: ObjectKey, current: ObjectVersion?) throws(ObjectStoreError) {
        switch self {
        case .always:
            return
        case .absent:
            if current != nil { throw .exists(key) }
        case .version(let version):
            guard let current else { throw .missing(key) }
            if current != version { throw .changed(key) }
        }
    }
}
