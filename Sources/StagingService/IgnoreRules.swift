/// Which files of an app's directory are not part of the app: `.cfignore`, in the syntax of gitignore(5), after the names
/// that are always left out.
public struct IgnoreRules: Hashable, Sendable {
    /// What `cf push` leaves out without being told.
    static let standard = [
        ".cfignore", "/manifest.yml", ".gitignore", ".git", ".hg", ".svn", "_darcs", ".DS_Store",
    ]

    private struct Rule: Hashable {
        let segments: [[UInt8]]
        let isAnchored: Bool
        let isForDirectories: Bool
        let isKept: Bool
    }

    /// How many rules are read; more are an error, since each is tried on every file.
    public static let maximumRules = 1000

    private let rules: [Rule]

    /// - Parameter text: the content of `.cfignore`.
    /// - Returns: nil if it has more than `maximumRules` lines with rules.
    public init?(_ text: String = "") {
        let lines = Self.standard + text.split(whereSeparator: \.isNewline).map(String.init)
        rules = lines.compactMap(Self.rule)
        guard rules.count <= Self.maximumRules + Self.standard.count else { return nil }
    }

    /// Whether a file is left out. Ask it for a directory before what is in it: what is below a directory that is left
    /// out is so, too.
    /// - Parameter path: relative to the app's directory, without a slash at either end.
    public func excludes(_ path: String, isDirectory: Bool) -> Bool {
        excludes(Array(path.utf8), isDirectory: isDirectory)
    }

    func excludes(_ path: [UInt8], isDirectory: Bool) -> Bool {
        let segments = path.split(separator: UInt8(ascii: "/")).map { Array($0) }
        // The last rule that fits decides.
        let rule = rules.last { rule in
            (isDirectory || !rule.isForDirectories) && Self.matches(rule, segments)
        }
        return rule.map { !$0.isKept } ?? false
    }

    private static func rule(_ line: String) -> Rule? {
        var text = Array(line.utf8)
        while text.last == UInt8(ascii: " "), text.dropLast().last != UInt8(ascii: "\\") { text.removeLast() }
        guard let first = text.first, first != UInt8(ascii: "#") else { return nil }
        let isKept = first == UInt8(ascii: "!")
        if isKept { text.removeFirst() }
        let isForDirectories = text.last == UInt8(ascii: "/")
        if isForDirectories { text.removeLast() }
        let isAnchored = text.contains(UInt8(ascii: "/"))
        let segments = text.split(separator: UInt8(ascii: "/")).map { Array($0) }
        guard !segments.isEmpty else { return nil }
        return Rule(segments: segments, isAnchored: isAnchored, isForDirectories: isForDirectories, isKept: isKept)
    }

    private static func matches(_ rule: Rule, _ path: [[UInt8]]) -> Bool {
        guard rule.isAnchored else {
            guard let name = path.last, let pattern = rule.segments.first else { return false }
            return matches(pattern, name)
        }
        return matches(rule.segments[...], path[...])
    }

    /// Whether the segments of a pattern fit all of a path's. Each place of the path is marked that the pattern so far
    /// can end at, so that several `**` cost no more than one.
    private static func matches(_ pattern: ArraySlice<[UInt8]>, _ path: ArraySlice<[UInt8]>) -> Bool {
        let any = Array("**".utf8)
        var places: Set<Int> = [path.startIndex]
        for (index, segment) in zip(pattern.indices, pattern) {
            if segment == any {
                guard let least = places.min() else { return false }
                // At the end it stands for everything inside, not for the directory itself.
                let isLast = index == pattern.index(before: pattern.endIndex)
                places = Set((least + (isLast ? 1 : 0))..<(path.endIndex + 1))
            } else {
                places = Set(places.filter { $0 < path.endIndex && matches(segment, path[$0]) }.map { $0 + 1 })
            }
            if places.isEmpty { return false }
        }
        return places.contains(path.endIndex)
    }

    /// Whether a pattern with `*`, `?`, `[…]` and `\` fits a name (fnmatch(3) without slashes), in time proportional to the
    /// product of their lengths.
    private static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        var (p, n) = (0, 0)
        var retry: (p: Int, n: Int)?
        while n < name.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                retry = (p + 1, n)
                p += 1
            } else if let next = step(pattern, p, name[n]) {
                (p, n) = (next, n + 1)
            } else if let (again, at) = retry {
                retry = (again, at + 1)
                (p, n) = (again, at + 1)
            } else {
                return false
            }
        }
        while p < pattern.count, pattern[p] == UInt8(ascii: "*") { p += 1 }
        return p == pattern.count
    }

    /// The place behind a pattern's element that fits a byte; nil if it does not.
    private static func step(_ pattern: [UInt8], _ start: Int, _ byte: UInt8) -> Int? {
        guard start < pattern.count else { return nil }
        switch pattern[start] {
        case UInt8(ascii: "?"): return start + 1
        case UInt8(ascii: "\\") where start + 1 < pattern.count:
            return pattern[start + 1] == byte ? start + 2 : nil
        case UInt8(ascii: "["):
            var index = start + 1
            let isNegated =
                index < pattern.count && (pattern[index] == UInt8(ascii: "!") || pattern[index] == UInt8(ascii: "^"))
            if isNegated { index += 1 }
            let first = index
            var isIn = false
            while index < pattern.count, pattern[index] != UInt8(ascii: "]") || index == first {
                if index + 2 < pattern.count, pattern[index + 1] == UInt8(ascii: "-"),
                    pattern[index + 2] != UInt8(ascii: "]")
                {
                    if pattern[index] <= byte, byte <= pattern[index + 2] { isIn = true }
                    index += 3
                } else {
                    if pattern[index] == byte { isIn = true }
                    index += 1
                }
            }
            // Without its end the bracket is a character like others.
            guard index < pattern.count else { return byte == UInt8(ascii: "[") ? start + 1 : nil }
            return isIn != isNegated ? index + 1 : nil
        default: return pattern[start] == byte ? start + 1 : nil
        }
    }
}
