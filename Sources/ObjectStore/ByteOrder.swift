import Glibc

extension String {
    /// Whether this text's bytes sort before the other's. (`<` compares Unicode's canonical forms.)
    func isByteBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }

    /// Whether this text's bytes begin with the prefix's. It compares memory directly, since each listing calls it for
    /// every pending change.
    func hasBytePrefix(_ prefix: String) -> Bool {
        let isPrefix = utf8.withContiguousStorageIfAvailable { bytes in
            prefix.utf8.withContiguousStorageIfAvailable { prefix in
                guard prefix.count <= bytes.count else { return false }
                guard let start = bytes.baseAddress, let other = prefix.baseAddress else { return prefix.isEmpty }
                return memcmp(start, other, prefix.count) == 0
            }
        }
        return isPrefix.flatMap { $0 } ?? utf8.starts(with: prefix.utf8)
    }
}
