import Images
import OCI

extension MediaTypeFamily {
    /// The family that a client wants: OCI's, unless it accepts Docker's and not OCI's.
    /// - Parameter accept: the values of all `Accept` headers.
    init(accept: [String]) {
        let acceptsOCI =
            accept.isEmpty
            || accept.contains { $0.contains(MediaType.ociManifest.text) || $0.contains("*/*") || $0.contains("application/*") }
        let acceptsDocker = accept.contains { $0.contains(MediaType.dockerManifest.text) }
        self = acceptsDocker && !acceptsOCI ? .docker : .oci
    }
}
