import CCrypt
import Glibc

/// A bcrypt hash as it stands in a password file: `$2b$10$…`, 60 characters.
public struct BcryptHash: Hashable, Sendable {
    /// The costs that are accepted; the work is 2 to the power of the cost. Each password that somebody guesses takes a
    /// thread as long as a good one does: more than 14 would be seconds.
    public static let costs = 4...14
    /// The longest password, in bytes: bcrypt ignores the bytes that follow.
    public static let maximumPassword = 72

    let text: String
    let cost: Int

    /// - Returns: nil if this is no bcrypt hash or its cost is out of bounds.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 60, bytes[0] == UInt8(ascii: "$"), bytes[1] == UInt8(ascii: "2"),
            [UInt8(ascii: "a"), UInt8(ascii: "b"), UInt8(ascii: "y")].contains(bytes[2]),
            bytes[3] == UInt8(ascii: "$"), bytes[6] == UInt8(ascii: "$"),
            let cost = Int(String(decoding: bytes[4..<6], as: UTF8.self)), Self.costs.contains(cost),
            bytes[7...].allSatisfy(Self.isDigit)
        else { return nil }
        self.text = text
        self.cost = cost
    }

    /// Hashes a password with a salt of its own. Takes about 50 ms at cost 10, and twice that for each step more.
    /// - Throws: `.password` for one that is empty, longer than 72 bytes or has a NUL byte.
    public init(password: String, cost: Int = 10) throws(AuthenticationError) {
        let bytes = password.utf8
        guard !bytes.isEmpty else { throw .password(reason: "it is empty") }
        guard bytes.count <= Self.maximumPassword else { throw .password(reason: "bcrypt takes at most 72 bytes") }
        guard !bytes.contains(0) else { throw .password(reason: "it contains a NUL byte") }
        guard let hash = Self.crypt(password, setting: try Self.salt(cost: cost)).flatMap(BcryptHash.init) else {
            throw .password(reason: "bcrypt failed")
        }
        self = hash
    }

    /// A hash of this cost that no password has, to do the same work for users that don't exist.
    static func unmatchable(cost: Int) -> BcryptHash? {
        let cost = cost < 10 ? "0\(cost)" : "\(cost)"
        return BcryptHash("$2b$\(cost)$" + String(repeating: ".", count: 53))
    }

    /// Whether this is the password's hash. Blocks the calling thread; the cost says for how long.
    func matches(_ password: String) -> Bool {
        guard let other = Self.crypt(password, setting: text) else { return false }
        let (left, right) = (Array(text.utf8), Array(other.utf8))
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func salt(cost: Int) throws(AuthenticationError) -> String {
        guard costs.contains(cost) else { throw .password(reason: "the cost must be in \(costs)") }
        var generator = SystemRandomNumberGenerator()
        let random = (0..<16).map { _ in CChar(truncatingIfNeeded: generator.next() as UInt8) }
        var output = [CChar](repeating: 0, count: 64)
        guard crypt_gensalt_rn("$2b$", UInt(cost), random, Int32(random.count), &output, Int32(output.count)) != nil
        else { throw .password(reason: "no salt could be made") }
        return String(decoding: output.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// libxcrypt's `crypt_r`. Its 32 KB of state, which holds the password, are wiped.
    private static func crypt(_ password: String, setting: String) -> String? {
        guard !password.utf8.contains(0) else { return nil }
        let data = UnsafeMutableRawPointer.allocate(
            byteCount: MemoryLayout<crypt_data>.size, alignment: MemoryLayout<crypt_data>.alignment)
        memset(data, 0, MemoryLayout<crypt_data>.size)
        defer {
            explicit_bzero(data, MemoryLayout<crypt_data>.size)
            data.deallocate()
        }
        guard let result = crypt_r(password, setting, data.assumingMemoryBound(to: crypt_data.self)) else { return nil }
        let text = String(cString: result)
        return text.hasPrefix("*") ? nil : text
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }
}

extension BcryptHash: CustomStringConvertible, CustomReflectable {
    /// Never the hash itself.
    public var description: String { "bcrypt hash of cost \(cost)" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
