import Crypto
import NIOCore

/// Credentials that were found good a while ago, so that bcrypt is not paid for each request.
///
/// Keys are HMAC-SHA256 of the whole header under a key that only this process knows, so neither memory nor timing
/// tells a password.
struct CredentialCache {
    /// A header's HMAC.
    struct Key: Hashable, Sendable {
        private let words: (UInt64, UInt64, UInt64, UInt64)

        init(_ header: String, secret: SymmetricKey) {
            var header = header
            let code = header.withUTF8 {
                HMAC<SHA256>.authenticationCode(for: UnsafeRawBufferPointer($0), using: secret)
            }
            words = code.withUnsafeBytes { bytes in
                (
                    bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
                    bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self),
                    bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self),
                    bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
                )
            }
        }

        static func newSecret() -> SymmetricKey { SymmetricKey(size: .bits256) }

        /// Compares in constant time.
        static func == (left: Key, right: Key) -> Bool {
            let (one, other) = (left.words, right.words)
            return ((one.0 ^ other.0) | (one.1 ^ other.1) | (one.2 ^ other.2) | (one.3 ^ other.3)) == 0
        }

        func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
    }

    private struct Entry {
        let principal: Principal
        let expires: NIODeadline
    }

    let maximum: Int
    let lifetime: TimeAmount
    private var entries: [Key: Entry] = [:]

    init(maximum: Int, lifetime: TimeAmount) {
        self.maximum = maximum
        self.lifetime = lifetime
    }

    func principal(for key: Key, now: NIODeadline) -> Principal? {
        guard let entry = entries[key], now < entry.expires else { return nil }
        return entry.principal
    }

    /// Whether these credentials were found good, perhaps too long ago to be believed.
    func wasGood(_ key: Key) -> Bool { entries[key] != nil }

    mutating func add(_ principal: Principal, for key: Key, now: NIODeadline) {
        if entries.count >= maximum, entries[key] == nil {
            entries = entries.filter { now < $0.value.expires }
            if entries.count >= maximum, let oldest = entries.min(by: { $0.value.expires < $1.value.expires }) {
                entries.removeValue(forKey: oldest.key)
            }
        }
        entries[key] = Entry(principal: principal, expires: now + lifetime)
    }

    /// Gives users other rights, or forgets them where the closure says nil for their name.
    mutating func update(_ principal: (String) -> Principal?) {
        entries = entries.compactMapValues { entry in
            principal(entry.principal.name).map { Entry(principal: $0, expires: entry.expires) }
        }
    }
}
