import Crypto
import NIOCore

/// Remembers credentials that were found good, so that bcrypt is not run for each request.
///
/// Keys are HMAC-SHA256 of the whole header under a key that only this process knows, so neither memory nor timing
/// reveals a password.
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

    /// Whether these credentials were found good before, even if their lifetime is over.
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

    /// Replaces each user by what the closure returns for its name, or forgets it where that is nil.
    mutating func update(_ principal: (String) -> Principal?) {
        entries = entries.compactMapValues { entry in
            principal(entry.principal.name).map { Entry(principal: $0, expires: entry.expires) }
        }
    }
}
