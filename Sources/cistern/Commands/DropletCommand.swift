import ArgumentParser
import JSON
import OCI
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
        @Argument(help: "The droplet: a tar archive, plain, gzip or zstd.") var file: String

        func run() async throws {
            let file = try UploadFile(path: file)
            let digest = try file.digest(.sha256)
            let query = [("stack", stack), ("arch", arch)].compactMap { name, value in
                value.map { "\(name)=\($0.urlComponent)" }
            }
            let path =
                "/droplets/\(guid.urlComponent)/\(digest.hex)"
                + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
            let bar = ProgressBar("uploading \(guid)", total: file.size)
            try await server.ask { client in
                defer { bar.clear() }
                _ = try await client.upload(file, to: path) { bar.show($0) }
                return try await client.send(.get, "/api/v1/droplets/\(guid.urlComponent)/\(digest.hex)")
            } print: { answer in
                (answer["image"]?.string ?? "") + "\n"
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List droplets.")

        @OptionGroup var server: ServerOptions
        @Option(help: "Only this app's.") var guid: String?

        func run() async throws {
            let base = "/api/v1/droplets" + (guid.map { "/\($0.urlComponent)" } ?? "")
            try await server.ask { client in
                var droplets: [JSONValue] = []
                var path = base
                while true {
                    let page = try await client.send(.get, path)
                    droplets += page["droplets"]?.array ?? []
                    guard let next = page["next"]?.string else { break }
                    path = base + "?after=" + next.urlComponent
                }
                return .object(["droplets": .array(droplets)])
            } print: { answer in
                var table = Table(["GUID", "HASH", "STACK", "ARCH", "SIZE", "LAYERS", "UPLOADED", "BY"])
                for droplet in answer["droplets"]?.array ?? [] {
                    table.add(
                        [
                            droplet["guid"]?.string ?? "", droplet["hash"]?.string ?? "",
                            droplet["stack"]?.string ?? "", droplet["architecture"]?.string ?? "",
                            byteCount(droplet["size"]?.integer ?? 0), String(droplet["layers"]?.array?.count ?? 0),
                            droplet["uploaded"]?.string ?? "", droplet["uploadedBy"]?.string ?? "",
                        ])
                }
                return table.text
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one droplet and its image.")

        @OptionGroup var server: ServerOptions
        @Option(help: "The app's droplet guid.") var guid: String
        @Option(help: "The droplet's hash; without it, the newest one's.") var hash: String?

        func run() async throws {
            try await server.ask { client in
                let guid = guid.urlComponent
                if let hash { return try await client.send(.get, "/api/v1/droplets/\(guid)/\(hash.urlComponent)") }
                let list = try await client.send(.get, "/api/v1/droplets/\(guid)")
                guard let newest = list["droplets"]?.array?.first?["hash"]?.string else {
                    throw CommandError("there is no droplet of \(self.guid)")
                }
                return try await client.send(.get, "/api/v1/droplets/\(guid)/\(newest)")
            } print: { droplet in
                var fields = Fields()
                fields.add("image", droplet["image"]?.string)
                fields.add("digest", droplet["digest"]?.string ?? "none before a rootfs of its stack is promoted")
                fields.add(
                    "rootfs", "\(droplet["stack"]?.string ?? "") \(droplet["rootfs"]?.string ?? "(none promoted)")")
                fields.add("architecture", droplet["architecture"]?.string)
                fields.add("sha256", droplet["hash"]?.string)
                fields.add("sha1", droplet["sha1"]?.string)
                fields.add("size", droplet["size"]?.integer.map { byteCount($0) })
                fields.add("uploaded", "\(droplet["uploaded"]?.string ?? "") by \(droplet["uploadedBy"]?.string ?? "")")
                fields.add(layersOf: droplet)
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
            try await server.ask {
                try await $0.send(.delete, "/droplets/\(guid.urlComponent)/\(hash.urlComponent)")
            } print: { _ in
                "removed\n"
            }
        }
    }
}
