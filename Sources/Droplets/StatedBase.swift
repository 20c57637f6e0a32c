import OCI
public import Rootfs

/// The stack and architecture that a sender states for a droplet; nil: it takes whatever the droplet has, or the
/// server's default for a new one.
public struct StatedBase: Hashable, Sendable {
    public let stack: StackName?
    public let architecture: Architecture?

    public static let nothing = StatedBase(stack: nil, architecture: nil)

    public init(stack: StackName?, architecture: Architecture?) {
        self.stack = stack
        self.architecture = architecture
    }

    /// Checks that a droplet is what the sender states: an app's droplet keeps the stack and architecture that it came
    /// with.
    /// - Throws: `.otherBase`.
    func check(_ record: DropletRecord) throws(ImageError) {
        guard stack ?? record.stack == record.stack, architecture ?? record.architecture == record.architecture else {
            throw .otherBase(
                guid: record.guid.text, hash: record.hash, stack: record.stack, architecture: record.architecture)
        }
    }
}
