import Foundation

/// What an upload of a droplet gave: `cistern droplet upload --json`.
public struct UploadedImage: Decodable, Sendable {
    /// `host:port/cloudfoundry/guid:hash`
    public let image: String
    /// The manifest's digest.
    public let digest: String
}

extension RunningServer {
    /// Imports and promotes the tiny rootfs as the stack `tiny`.
    public func importTinyRootfs(version: String = "1", promote: Bool = true) async throws {
        let file = try await Fixtures.tinyRootfs(version: version)
        let arguments = ["rootfs", "import", "--stack", "tiny", "--version", version, "--shell", "/bin/sh", file]
        try await cisternSuccessfully(arguments + (promote ? ["--promote"] : []))
    }

    /// Uploads a droplet for the stack `tiny`.
    public func upload(_ droplet: String, guid: String) async throws -> UploadedImage {
        let result = try await cisternSuccessfully(
            ["droplet", "upload", "--guid", guid, "--stack", "tiny", "--json", droplet])
        return try JSONDecoder().decode(UploadedImage.self, from: Data(result.stdout))
    }

    /// As `cistern`, for what has to succeed.
    @discardableResult
    public func cisternSuccessfully(_ arguments: [String], as user: User = .operator) async throws -> CommandResult {
        let result = try await cistern(arguments, as: user)
        guard result.status == 0 else {
            throw CommandError.failed((["cistern"] + arguments).joined(separator: " "), result)
        }
        return result
    }
}
