import HTTPTypes

extension Request {
    /// All values of a query parameter that may stand there several times, unescaped, in their order; empty for one
    /// without `=`.
    /// - Throws: 400 for one that is not escaped as it should be.
    public func queries(_ name: String) throws(HTTPFailure) -> [String] {
        var values: [String] = []
        for pair in queryText.utf8.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let key = parts.first, PercentEncoding.decode(key, plusIsSpace: true) == name else { continue }
            guard let value = parts.count == 2 ? PercentEncoding.decode(parts[1], plusIsSpace: true) : "" else {
                throw HTTPFailure(.badRequest, "the query parameter \(name) is not escaped as it should be")
            }
            values.append(value)
        }
        return values
    }
}
