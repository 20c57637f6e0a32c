import ArgumentParser
import Transfer

/// How a registry is asked that an image comes from.
struct SourceOptions: ParsableArguments {
    @Option(help: "Who asks the registry that the image comes from.")
    var sourceUser: String?

    @Option(help: "A file with that user's password or token.")
    var sourcePasswordFile: String?

    @Option(help: "A PEM file with that registry's certificate authority.")
    var sourceCa: String?

    @Flag(help: "Ask that registry without TLS.")
    var plainHttp = false

    /// Whether a user comes without a password, or the reverse.
    var isHalf: Bool { (sourceUser == nil) != (sourcePasswordFile == nil) }

    var isEmpty: Bool { sourceUser == nil && sourcePasswordFile == nil && sourceCa == nil && !plainHttp }

    func access() throws -> RegistryAccess {
        RegistryAccess(
            user: sourceUser, password: try sourcePasswordFile.map(PasswordFile.read) ?? "", authorityFile: sourceCa,
            isPlain: plainHttp)
    }
}
