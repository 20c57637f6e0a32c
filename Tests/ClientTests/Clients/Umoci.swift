import TestSupport

/// umoci, which unpacks what skopeo copied.
struct Umoci {
    /// Unpacks an image of an OCI layout into a runtime bundle.
    /// - Returns: the directory with its files.
    static func unpack(layout: String, tag: String = "image", bundle: String) async throws -> String {
        try await runSuccessfully("umoci", ["unpack", "--image", "\(layout):\(tag)", bundle], timeout: .seconds(120))
        return bundle + "/rootfs"
    }
}
