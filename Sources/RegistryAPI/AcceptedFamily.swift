import Images
import OCI

extension MediaTypeFamily {
    /// The family that a client wants: OCI's, unless it accepts Docker's and not OCI's.
    /// - Parameter accept: the values of all `Accept` headers (RFC 9110, section 12.5.1).
    init(accept: [String]) {
        let types = accept.flatMap { $0.split(separator: ",") }.compactMap(acceptedType)
        let acceptsOCI = types.contains { [MediaType.ociManifest.text, "*/*", "application/*"].contains($0) }
        self = types.contains(MediaType.dockerManifest.text) && !acceptsOCI ? .docker : .oci
    }
}

/// The media type of an item as in `a/b;q=0.5`, in lower case; nil if its weight says that it is not accepted.
private func acceptedType(_ item: Substring) -> String? {
    let parts = item.lowercased().split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" } }
    let isRefused = parts.dropFirst().contains { $0.hasPrefix("q=") && Double($0.dropFirst(2)) == 0 }
    return isRefused ? nil : parts.first
}
