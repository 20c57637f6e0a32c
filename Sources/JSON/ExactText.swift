import Glibc

/// A text that is told apart by its bytes, unlike a `String`: `é` as one character and as two are two texts.
///
/// It is what names are compared by that come from outside: a document with both has two members, not one twice.
@frozen public struct ExactText: Hashable, Sendable, Comparable, ExpressibleByStringLiteral, CustomStringConvertible {
    public let text: String

    @inlinable public init(_ text: String) { self.text = text }
    @inlinable public init(stringLiteral text: String) { self.text = text }

    @inlinable public var description: String { text }

    @inlinable public static func == (one: ExactText, other: ExactText) -> Bool {
        areIdentical(one.text, other.text)
    }

    @inlinable public static func < (one: ExactText, other: ExactText) -> Bool {
        one.text.utf8.lexicographicallyPrecedes(other.text.utf8)
    }

    @inlinable public func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

/// Whether two strings have the same bytes as UTF-8.
@usableFromInline package func areIdentical(_ one: String, _ other: String) -> Bool {
    let isSame = one.utf8.withContiguousStorageIfAvailable { one in
        other.utf8.withContiguousStorageIfAvailable { other in
            guard one.count == other.count else { return false }
            guard let left = one.baseAddress, let right = other.baseAddress else { return true }
            return memcmp(left, right, one.count) == 0
        }
    }
    return (isSame ?? nil) ?? one.utf8.elementsEqual(other.utf8)
}

/// Values by names, which are told apart by their bytes (`ExactText`). Its order is none.
@frozen public struct ByName<Value>: Sequence, ExpressibleByDictionaryLiteral {
    public typealias Element = (key: String, value: Value)

    @usableFromInline var storage: [ExactText: Value]

    @inlinable public init() { storage = [:] }

    /// Of names that are the same the last counts.
    @inlinable public init(dictionaryLiteral elements: (String, Value)...) { self.init(elements) { _, last in last } }

    /// Of names that are the same the last counts.
    @inlinable public init(_ values: [String: Value]) {
        self.init(values.lazy.map { ($0.key, $0.value) }) { _, last in last }
    }

    @inlinable public init(
        _ pairs: some Sequence<(String, Value)>, uniquingKeysWith combine: (Value, Value) throws -> Value
    ) rethrows {
        storage = try Dictionary(pairs.lazy.map { (ExactText($0), $1) }, uniquingKeysWith: combine)
    }

    @inlinable init(storage: [ExactText: Value]) { self.storage = storage }

    @inlinable public var isEmpty: Bool { storage.isEmpty }
    @inlinable public var count: Int { storage.count }
    @inlinable public var keys: some Collection<String> { storage.keys.lazy.map(\.text) }

    @inlinable public var values: some Collection<Value> { storage.values }

    @inlinable public subscript(_ name: String) -> Value? {
        get { storage[ExactText(name)] }
        set { storage[ExactText(name)] = newValue }
    }

    /// - Returns: the value that was replaced.
    @discardableResult
    @inlinable public mutating func updateValue(_ value: Value, forKey name: String) -> Value? {
        storage.updateValue(value, forKey: ExactText(name))
    }

    /// - Returns: the value that was there.
    @discardableResult
    @inlinable public mutating func removeValue(forKey name: String) -> Value? {
        storage.removeValue(forKey: ExactText(name))
    }

    @inlinable public func mapValues<Other, Failure>(_ map: (Value) throws(Failure) -> Other) throws(Failure) -> ByName<
        Other
    > {
        var others: [ExactText: Other] = [:]
        others.reserveCapacity(storage.count)
        for (name, value) in storage { others[name] = try map(value) }
        return ByName<Other>(storage: others)
    }

    @inlinable public func compactMapValues<Other>(_ map: (Value) throws -> Other?) rethrows -> ByName<Other> {
        ByName<Other>(storage: try storage.compactMapValues(map))
    }

    @inlinable public mutating func merge(_ others: ByName, uniquingKeysWith combine: (Value, Value) throws -> Value)
        rethrows
    {
        try storage.merge(others.storage, uniquingKeysWith: combine)
    }

    @inlinable public func merging(_ others: ByName, uniquingKeysWith combine: (Value, Value) throws -> Value) rethrows
        -> ByName
    {
        ByName(storage: try storage.merging(others.storage, uniquingKeysWith: combine))
    }

    @inlinable public func filter(_ isIncluded: (Element) throws -> Bool) rethrows -> ByName {
        ByName(storage: try storage.filter { try isIncluded(($0.key.text, $0.value)) })
    }

    @frozen public struct Iterator: IteratorProtocol {
        @usableFromInline var pairs: [ExactText: Value].Iterator

        @inlinable init(pairs: [ExactText: Value].Iterator) { self.pairs = pairs }

        @inlinable public mutating func next() -> Element? { pairs.next().map { ($0.key.text, $0.value) } }
    }

    @inlinable public func makeIterator() -> Iterator { Iterator(pairs: storage.makeIterator()) }
    @inlinable public var underestimatedCount: Int { storage.count }
}

extension ByName: Equatable where Value: Equatable {}
extension ByName: Hashable where Value: Hashable {}
extension ByName: Sendable where Value: Sendable {}
