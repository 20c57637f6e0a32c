extension String {
    /// Whether this text's bytes sort before the other's. (`<` compares Unicode's canonical forms.)
    func isByteBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }

    func hasBytePrefix(_ prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }
}
