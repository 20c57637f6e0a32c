import JSON

/// DATABASE_URL, which the platform derives from the bound services for frameworks that look only there.
enum DatabaseURL {
    /// URL schemes of databases, and what the frameworks call them.
    private static let schemes = [
        "mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres", "postgresql": "postgres",
    ]

    /// The first `credentials.uri` of a database in VCAP_SERVICES, services in the byte order of their labels, with
    /// its scheme as frameworks expect it. Nil if there is none or the text is no JSON object.
    static func first(in services: String) -> String? {
        guard let services = (try? JSONValue(parsing: services))?.object else { return nil }
        let labels = services.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        return labels.lazy
            .flatMap { services[$0]?.array ?? [] }
            .compactMap { $0["credentials"]?["uri"]?.string }
            .compactMap(databaseURL)
            .first
    }

    private static func databaseURL(_ uri: String) -> String? {
        guard let colon = uri.utf8.firstIndex(of: UInt8(ascii: ":")),
            let scheme = schemes[uri[..<colon].lowercased()],
            uri.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else { return nil }
        return scheme + uri[colon...]
    }
}
