import ArgumentParser
import Droplets
import JSON
import OCI
import OperatorModel
import Transfer

struct DropletCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "droplet", abstract: "Droplets: upload, look at and remove them.",
        subcommands: [Upload.self, List.self, Show.self, Remove.self])

    struct Upload: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Upload a droplet; prints the reference of its image.")

        @OptionGroup var server: ServerOptions
        @Option(help: "The app's droplet guid.") var guid: String
        @Option(help: "The stack it was built for; without it, the server's default.") var stack: String?
        @Option(help: "Its architecture; without it, the server's.") var arch: String?
        @Option(
            help: ArgumentHelp(
                "A buildpack that made it; several in the order in which they ran.",
                discussion: "SOURCE is sha256:HEX of its archive, or git:COMMIT.", valueName: "NAME[@VERSION][=SOURCE]"),
            transform: Self.buildpack)
        var buildpack: [StagedBuildpack] = []
        @Option(help: "The name or guid of the app's organization.") var org: String?
        @Option(help: "The name or guid of the app's space.") var space: String?
        @Argument(
            help: ArgumentHelp(
                "The droplet: a tar archive, plain, gzip or zstd; - reads it from standard input.",
                discussion: "What comes through a pipe is copied to TMPDIR (or /var/tmp) first, at most 16 GiB."))
        var file: String

        private static func buildpack(_ text: String) throws -> StagedBuildpack {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let words = parts[0].split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            guard !parts.dropFirst().contains(""), !words.contains(""),
                let buildpack = StagedBuildpack(
                    name: String(words[0]), version: words.count > 1 ? String(words[1]) : "",
                    source: parts.count > 1 ? String(parts[1]) : "")
            else { throw ValidationError("'\(text)' is not NAME[@VERSION][=sha256:HEX or =git:COMMIT]") }
            return buildpack
        }

        /// What the server is told of the buildpacks.
        private var headers: [String: String] {
            if buildpack.isEmpty { return [:] }
            return ["Cistern-Buildpacks": JSONValue.array(buildpack.map(\.json)).canonicalText]
        }

        func run() async throws {
            let file = try UploadFile.input(file)
            let digest = try file.digest(.sha256)
            let query = [("stack", stack), ("arch", arch), ("org", org), ("space", space)].compactMap { name, value in
                value.map { "\(name)=\($0.urlComponent)" }
            }
            let path =
                "/droplets/\(guid.urlComponent)/\(digest.hex)"
                + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
            let bar = ProgressBar("uploading \(guid)", total: file.size)
            let answer = try await server.ask { (client) -> DropletImage in
                defer { bar.clear() }
                let _: JSONValue = try await client.upload(
                    UploadBody(file.chunks, length: file.size, headers: headers), to: path
                ) { bar.show($0) }
                return try await client.send(.get, apiPath("droplets", guid, digest.hex))
            } print: {
                "\($0.image)\n"
            }
            // Scripts read the reference alone; whoever looks on sees what the droplet was taken for.
            if !server.json {
                writeToStandardError(
                    "for the stack \(answer.droplet.stack) on \(answer.droplet.architecture.rawValue)\n")
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List droplets.")

        @OptionGroup var server: ServerOptions
        @Option(help: "Only this app's.") var guid: String?

        func run() async throws {
            let headings = ["GUID", "HASH", "STACK", "ARCH", "SIZE", "LAYERS", "UPLOADED", "BY"]
            try await server.list("droplets", headings) { client, after in
                let path = guid.map { apiPath("droplets", $0) } ?? apiPath("droplets", query: ["after": after])
                let page: Droplets = try await client.send(.get, path)
                return (page.droplets, page.next)
            } row: { droplet in
                [
                    droplet.guid, droplet.hash, droplet.stack, droplet.architecture.rawValue, byteCount(droplet.size),
                    String(droplet.layers.count), "\(droplet.uploaded)", droplet.uploadedBy,
                ]
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one droplet and its image.")

        @OptionGroup var server: ServerOptions
        @Option(help: "The app's droplet guid.") var guid: String
        @Option(help: "The droplet's hash; without it, the newest one's.") var hash: String?

        func run() async throws {
            try await server.ask { (client) -> DropletImage in
                var hash = hash
                if hash == nil {
                    let list: Droplets = try await client.send(.get, apiPath("droplets", guid))
                    hash = list.droplets.first?.hash
                }
                guard let hash else { throw CommandError("there is no droplet of \(guid)") }
                return try await client.send(.get, apiPath("droplets", guid, hash))
            } print: { answer in
                let droplet = answer.droplet
                var fields = Fields()
                fields.add("image", answer.image)
                fields.add(
                    "digest", answer.digest?.description ?? "none before a rootfs of its stack is promoted")
                fields.add("rootfs", "\(droplet.stack) \(answer.rootfs ?? "(none promoted)")")
                fields.add("architecture", droplet.architecture.rawValue)
                fields.add("sha256", droplet.hash)
                fields.add("sha1", droplet.sha1)
                fields.add("size", byteCount(droplet.size))
                fields.add("uploaded", "\(droplet.uploaded) by \(droplet.uploadedBy)")
                if let org = droplet.org { fields.add("org", org) }
                if let space = droplet.space { fields.add("space", space) }
                for buildpack in droplet.buildpacks { fields.add("buildpack", buildpack.text) }
                for buildpack in droplet.buildpacksByDroplet {
                    fields.add("buildpack", "\(buildpack.text), as the droplet says")
                }
                fields.add(droplet.layers)
                return fields.text
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a droplet.")

        @OptionGroup var server: ServerOptions
        @Option(help: "The app's droplet guid.") var guid: String
        @Option(help: "The droplet's hash.") var hash: String

        func run() async throws {
            try await server.change(
                .delete, "/droplets/\(guid.urlComponent)/\(hash.urlComponent)", printing: "removed\n")
        }
    }
}

extension DropletBuildpack {
    fileprivate var text: String { [name, version, source].compactMap { $0 }.joined(separator: " ") }
}
