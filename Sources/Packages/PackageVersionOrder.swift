/// How package managers order versions.
enum PackageVersionOrder {
    /// Compares two versions as deb-version(7) does: by epoch, upstream version and revision.
    /// - Returns: negative, zero or positive, as the left one is older, as old, or newer.
    static func dpkg(_ left: String, _ right: String) -> Int {
        let left = DebianVersion(left)
        let right = DebianVersion(right)
        for (left, right) in [
            (left.epoch, right.epoch), (left.upstream, right.upstream), (left.revision, right.revision),
        ] {
            let order = DebianVersion.compare(left, right)
            if order != 0 { return order }
        }
        return 0
    }

    /// Compares two versions as apk does (apk-package(5), "package version"); returns the same as `dpkg`.
    static func apk(_ left: String, _ right: String) -> Int { APKVersion.compare(left, right) }
}

private struct DebianVersion {
    typealias Part = ArraySlice<UInt8>

    let epoch: Part
    let upstream: Part
    let revision: Part

    init(_ text: String) {
        var rest = Array(text.utf8)[...]
        if let colon = rest.firstIndex(of: UInt8(ascii: ":")) {
            epoch = rest[..<colon]
            rest = rest[(colon + 1)...]
        } else {
            epoch = []
        }
        if let dash = rest.lastIndex(of: UInt8(ascii: "-")) {
            upstream = rest[..<dash]
            revision = rest[(dash + 1)...]
        } else {
            upstream = rest
            revision = []
        }
    }

    /// Compares by turns the next non-digits, in the order of `weight`, and the next digits as a number.
    static func compare(_ left: Part, _ right: Part) -> Int {
        var (left, right) = (left, right)
        while !left.isEmpty || !right.isEmpty {
            while left.first.map({ !$0.isDigit }) ?? false || right.first.map({ !$0.isDigit }) ?? false {
                let difference = weight(left.first) - weight(right.first)
                if difference != 0 { return difference }
                left = left.dropFirst()
                right = right.dropFirst()
            }
            let difference = compareNumbers(takeNumber(&left), takeNumber(&right))
            if difference != 0 { return difference }
        }
        return 0
    }

    /// The order of characters: a tilde before the end, the end and digits before letters, letters before all others.
    private static func weight(_ byte: UInt8?) -> Int {
        guard let byte, !byte.isDigit else { return 0 }
        if byte == UInt8(ascii: "~") { return -1 }
        return byte.isLetter ? Int(byte) : Int(byte) + 256
    }
}

private struct APKVersion {
    /// The kinds of tokens, in the order in which a version may have them. Where two versions begin to differ in kind,
    /// the one with the earlier kind is newer.
    private enum Kind: Int {
        case invalid = -1
        case fraction, number, letter, suffix, suffixNumber, revision, end
    }

    /// A token's value: the digits of a number of any length, or a small integer for other tokens.
    private enum Value {
        case small(Int)
        case number(ArraySlice<UInt8>)

        static func compare(_ left: Value, _ right: Value) -> Int {
            switch (left, right) {
            case (.small(let left), .small(let right)): left - right
            case (.number(let left), .number(let right)): compareNumbers(left, right)
            // The small one stands for leading zeros, which come before every number.
            case (.small, .number): -1
            case (.number, .small): 1
            }
        }
    }

    private static let before = ["alpha", "beta", "pre", "rc"]
    private static let after = ["cvs", "svn", "git", "hg", "p"]

    private var rest: ArraySlice<UInt8>
    private var kind = Kind.number

    private init(_ text: String) { rest = Array(text.utf8)[...] }

    static func compare(_ left: String, _ right: String) -> Int {
        var (left, right) = (APKVersion(left), APKVersion(right))
        while left.kind == right.kind, left.kind != .end, left.kind != .invalid {
            let order = Value.compare(left.next(), right.next())
            if order != 0 { return order }
        }
        guard left.kind != right.kind else { return 0 }
        // The version that has more tokens is newer, unless its next one marks a pre-release.
        if left.isPrerelease { return -1 }
        if right.isPrerelease { return 1 }
        return right.kind.rawValue - left.kind.rawValue
    }

    private var isPrerelease: Bool {
        guard kind == .suffix else { return false }
        var copy = self
        if case .small(let value) = copy.next() { return value < 0 }
        return false
    }

    /// Takes the token of the current kind and finds the kind of the one behind it.
    private mutating func next() -> Value {
        var value = Value.small(0)
        var following: Kind?
        switch kind {
        case .fraction where rest.first == UInt8(ascii: "0"):
            // All but the last of a fraction's leading zeros are a token of their own: the more there are, the older
            // the version. A number follows them.
            let zeros = rest.prefix { $0 == UInt8(ascii: "0") }.count - 1
            rest = rest.dropFirst(zeros)
            value = .small(-zeros)
            following = .number
        case .fraction, .number, .suffixNumber, .revision: value = .number(takeNumber(&rest))
        case .letter: value = .small(rest.popFirst().map(Int.init) ?? 0)
        case .suffix: value = takeSuffix()
        case .end, .invalid: break
        }
        if kind == .invalid { return value }
        if rest.isEmpty { kind = .end } else if let following { kind = following } else { kind = followingKind() }
        return value
    }

    private mutating func takeSuffix() -> Value {
        for (index, name) in Self.before.enumerated() where rest.starts(with: name.utf8) {
            rest = rest.dropFirst(name.utf8.count)
            return .small(index - Self.before.count)
        }
        for (index, name) in Self.after.enumerated() where rest.starts(with: name.utf8) {
            rest = rest.dropFirst(name.utf8.count)
            return .small(index)
        }
        rest = []
        return .small(0)
    }

    private mutating func followingKind() -> Kind {
        guard let first = rest.first else { return .end }
        let found: Kind
        if kind == .fraction || kind == .number, first.isLetter {
            found = .letter
        } else if kind == .letter, first.isDigit {
            found = .number
        } else if kind == .suffix, first.isDigit {
            found = .suffixNumber
        } else {
            rest = rest.dropFirst()
            switch first {
            case UInt8(ascii: "."): found = .fraction
            case UInt8(ascii: "_"): found = .suffix
            case UInt8(ascii: "-") where rest.first == UInt8(ascii: "r"):
                rest = rest.dropFirst()
                found = .revision
            default: return .invalid
            }
        }
        let mayGoBack =
            found == .fraction && kind == .number || found == .suffix && kind == .suffixNumber
            || found == .number && kind == .letter
        return found.rawValue < kind.rawValue && !mayGoBack ? .invalid : found
    }
}

/// Takes the digits at the beginning; there may be none.
private func takeNumber(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let digits = rest.prefix { $0.isDigit }
    rest = rest.dropFirst(digits.count)
    return digits
}

/// Compares strings of digits, of any length, as numbers; no digits are zero.
private func compareNumbers(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Int {
    let left = left.drop { $0 == UInt8(ascii: "0") }
    let right = right.drop { $0 == UInt8(ascii: "0") }
    if left.count != right.count { return left.count - right.count }
    if left.elementsEqual(right) { return 0 }
    return left.lexicographicallyPrecedes(right) ? -1 : 1
}

extension UInt8 {
    fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
    fileprivate var isLetter: Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self)
    }
}
