import TestSupport

/// umoci, which unpacks what skopeo copied.
struct Umoci {
    /// Unpacks an image of an OCI layout into a runtime bundle.
    /// - Returns: the directory with its files.
    static func unpack(layout: String, tag: String = "image", bundle: String) async throws -> String {
        try await runSuccessfully("umoci", ["unpack", "--image", "\(layout):\(tag)", bundle], timeout: .seconds(120))
        return bundle + "/rootfs"
    }

    /// Makes an image of one layer. Its manifest has no `mediaType`, as umoci's have none.
    /// - Parameter tar: what the layer has, uncompressed.
    static func build(layout: String, tag: String = "image", tar: String) async throws {
        try await runSuccessfully("umoci", ["init", "--layout", layout])
        try await runSuccessfully("umoci", ["new", "--image", "\(layout):\(tag)"])
        try await runSuccessfully("umoci", ["raw", "add-layer", "--image", "\(layout):\(tag)", tar])
        try await runSuccessfully(
            "umoci", ["config", "--image", "\(layout):\(tag)", "--config.cmd", "/bin/sh", "--architecture", "amd64"])
    }
}
