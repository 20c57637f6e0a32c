package import Rootfs

/// A cluster's name, with the same grammar as a stack's.
package struct ClusterName: Hashable, Sendable, CustomStringConvertible {
    package let text: String

    /// - Throws: `ImageError.invalidName`.
    package init(_ text: some StringProtocol) throws(ImageError) {
        guard (try? StackName(text)) != nil else { throw .invalidName(what: "cluster", text: String(text)) }
        self.text = String(text)
    }

    package var description: String { text }
}
