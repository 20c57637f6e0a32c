public import OCI

extension RepositoryName {
    /// Whether clients can't push images here: the names below `cloudfoundry/` and `cistern/` are those of what is derived.
    public var isReserved: Bool {
        let text = text.utf8
        // Compared before it is split: this is asked for each request, and most names begin otherwise.
        guard text.starts(with: "cloudfoundry".utf8) || text.starts(with: "cistern".utf8) else { return false }
        let first = Substring(text.prefix { $0 != UInt8(ascii: "/") })
        return first == "cloudfoundry" || first == "cistern"
    }
}
