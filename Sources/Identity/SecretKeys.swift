import Runtime

/// The keys that sign URLs, or tokens: the files `url-signing.keys` and `token-signing.keys` in `DIR/secrets`.
///
///     # id secret
///     2026-11 ksd7…
///     2026-10 p4mx…
///
/// A file has one key or two. The first one signs, both are valid. To change keys, put a new one on top, and take the
/// old one out when nothing that it signed is valid any more: an hour later for URLs, five minutes later for tokens. An
/// id is `[A-Za-z0-9._-]{1,64}`; a secret is 32 to 256 bytes of printable ASCII without spaces. Neither stands in any
/// description.
public struct SecretKeys: Sendable {
    /// What keys are for. Each use has a file of its own, so that nothing that one signs can be taken for the other.
    public enum Use: Hashable, Sendable, CustomStringConvertible {
        case urls, tokens

        public var description: String {
            switch self {
            case .urls: "the keys that sign URLs"
            case .tokens: "the keys that sign tokens"
            }
        }

        fileprivate var file: String {
            switch self {
            case .urls: "url-signing.keys"
            case .tokens: "token-signing.keys"
            }
        }

        /// After which time nothing is valid any more that a key signed.
        fileprivate var lifetime: String {
            switch self {
            case .urls: "an hour"
            case .tokens: "five minutes"
            }
        }
    }

    /// The largest file that is read, in bytes.
    static let maximumSize = 4096
    static let secretLength = 32...256

    struct Key: Sendable {
        let id: String
        let secret: String
    }

    /// What signs.
    let current: Key
    /// What signed before the keys were changed; nil at other times.
    let previous: Key?

    subscript(_ id: Substring) -> Key? {
        if current.id == id { return current }
        return previous.flatMap { $0.id == id ? $0 : nil }
    }

    /// - Throws: `.keys`, which repeats nothing of the text.
    public init(parsing text: String, for use: Use) throws(AuthenticationError) {
        var keys: [Key] = []
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let words = line.split { $0 == " " || $0 == "\t" }
            guard let id = words.first, id.first != "#" else { continue }
            func fault(_ reason: String) -> AuthenticationError {
                .keys(use, line: index + 1, reason: reason)
            }
            guard words.count == 2 else { throw fault("a line has an id and a secret") }
            guard Self.isID(id) else { throw fault("an id is [A-Za-z0-9._-]{1,64}") }
            guard Self.secretLength.contains(words[1].utf8.count), words[1].utf8.allSatisfy({ 0x21...0x7E ~= $0 })
            else {
                throw fault(
                    "a secret has \(Self.secretLength.lowerBound) to \(Self.secretLength.upperBound) bytes of ASCII")
            }
            guard keys.count < 2 else { throw fault("there are more than two keys") }
            guard keys.first?.id != String(id) else { throw fault("the id is there twice") }
            keys.append(Key(id: String(id), secret: String(words[1])))
        }
        guard let current = keys.first else { throw .keys(use, line: 0, reason: "there is no key") }
        self.current = current
        previous = keys.count == 2 ? keys[1] : nil
    }

    /// Reads the file.
    /// - Throws: `.file`, also if others than the file's owner have access to it.
    public init(path: String, for use: Use) throws(AuthenticationError) {
        let bytes: [UInt8]
        do { bytes = try SmallFile.read(path, maximum: Self.maximumSize, isSecret: true) } catch {
            throw .file(path: path, reason: error.reason)
        }
        do { try self.init(parsing: String(decoding: bytes, as: UTF8.self), for: use) } catch {
            throw .file(path: path, reason: error.description)
        }
    }

    /// Where a data directory has the file.
    /// - Parameter data: the server's data directory.
    public static func path(data: String, for use: Use) -> String {
        "\(FirstUsers.Paths(data: data).secrets)/\(use.file)"
    }

    /// Makes the file with one random key of 160 bits, unless it is there.
    /// - Returns: whether it was made.
    public static func prepare(data: String, for use: Use) throws(AuthenticationError) -> Bool {
        let path = path(data: data, for: use)
        guard !PrivateFile.exists(path) else { return false }
        try PrivateFile.makeDirectory(FirstUsers.Paths(data: data).secrets)
        let id = String(UInt32.random(in: .min ... .max), radix: 16)
        let text = """
            # \(use.description.prefix(1).uppercased())\(use.description.dropFirst()), the current one first: an id and a secret of 32 bytes or more.
            # To change keys, put a new line on top; take the old one out \(use.lifetime) later.
            \(id) \(FirstUsers.randomPassword())

            """
        try PrivateFile.write(path, Array(text.utf8))
        return true
    }

    private static func isID(_ text: Substring) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}

extension SecretKeys: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { previous == nil ? "one key" : "two keys" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
