/// Names some repositories: `base/alpine`, `team-*/*`, `team-a/**`.
///
/// Component by component, `*` stands for any number of characters, none included; it never reaches over a `/`. `**` as
/// the last component stands for one component or more, so that `team-a/**` names all that is below `team-a` and not
/// `team-a` itself, and `**` alone names every repository.
public struct RepositoryPattern: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// In bytes.
    public static let maximumLength = 255

    public struct Fault: Error, Hashable, Sendable {
        public let reason: String
    }

    private let text: String
    private let components: [[UInt8]]
    private let takesRest: Bool

    /// - Throws: a fault that says what is wrong, without naming the pattern.
    public init(_ text: String) throws(Fault) {
        guard (1...Self.maximumLength).contains(text.utf8.count) else {
            throw Fault(reason: "a pattern has 1 to \(Self.maximumLength) bytes")
        }
        var components = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Array.init)
        let rest: [UInt8] = [UInt8(ascii: "*"), UInt8(ascii: "*")]
        takesRest = components.last == rest
        if takesRest { components.removeLast() }
        for component in components {
            guard !component.isEmpty else { throw Fault(reason: "a component of a pattern can't be empty") }
            guard component.allSatisfy(Self.isAllowed) else {
                throw Fault(reason: "a pattern has lower-case letters, digits, '.', '_', '-', '*' and '/' only")
            }
            guard zip(component, component.dropFirst()).allSatisfy({ $0 != rest[0] || $1 != rest[0] }) else {
                throw Fault(reason: "'**' can only be the last component of a pattern")
            }
        }
        self.text = text
        self.components = components
    }

    public var description: String { text }

    /// Where the repositories are that the pattern names.
    var place: RepositoryPlace {
        let prefix = text.utf8.prefix { $0 != UInt8(ascii: "*") }
        return RepositoryPlace(prefix: String(Substring(prefix)), isWhole: prefix.count == text.utf8.count)
    }

    public static func < (left: RepositoryPattern, right: RepositoryPattern) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    /// Whether a repository's name matches. Takes at most time in proportion to pattern × name, whatever they contain.
    public func matches(_ repository: String) -> Bool {
        var rest = repository.utf8[...]
        var isFirst = true
        for component in components {
            guard isFirst || rest.popFirst() == UInt8(ascii: "/") else { return false }
            isFirst = false
            let end = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
            guard Self.matches(component, rest[..<end]) else { return false }
            rest = rest[end...]
        }
        guard takesRest else { return rest.isEmpty }
        if !isFirst { guard rest.popFirst() == UInt8(ascii: "/") else { return false } }
        return !rest.isEmpty
    }

    /// Backtracks to the last `*` only, which is enough and bounds the time by pattern × name.
    private static func matches(_ pattern: [UInt8], _ name: Substring.UTF8View) -> Bool {
        var (at, place) = (0, name.startIndex)
        var star: (after: Int, place: Substring.UTF8View.Index)?
        while place < name.endIndex {
            if at < pattern.count, pattern[at] == UInt8(ascii: "*") {
                star = (at + 1, place)
                at += 1
            } else if at < pattern.count, pattern[at] == name[place] {
                at += 1
                name.formIndex(after: &place)
            } else if let last = star {
                let next = name.index(after: last.place)
                star = (last.after, next)
                (at, place) = (last.after, next)
            } else {
                return false
            }
        }
        return pattern[at...].allSatisfy { $0 == UInt8(ascii: "*") } && !name.isEmpty
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "*"):
            true
        default: false
        }
    }
}
