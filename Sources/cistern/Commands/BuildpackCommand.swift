import ArgumentParser
import Bits
import Foundation
import JSON
import OCI
import Transfer

struct BuildpackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "buildpack", abstract: "Installed buildpacks: those that a staging without -b chooses from.",
        subcommands: [Upload.self, List.self, Remove.self])

    struct Upload: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Install a buildpack. Its manifest.yml says which stack it is for; without one it is for all.")

        @OptionGroup var server: ServerOptions
        @Option(help: "Its name for people; without it, the file's.") var name: String?
        @Option(help: "Its guid, to replace one; without it, the name.") var guid: String?
        @Option(help: "Its place in the order in which buildpacks detect, from 1 on; without it, the last.")
        var position: Int?
        @Argument(help: "A zip; - reads it from standard input, and wants --name.") var file: String

        func validate() throws {
            guard name != nil || !["-", "/dev/stdin"].contains(file) else {
                throw ValidationError("What comes through a pipe wants --name.")
            }
            guard guid != nil || (try? BitsName(.buildpacks, shownName)) != nil else {
                throw ValidationError(
                    """
                    '\(printable(shownName))' can't be the guid as well, which has small letters and digits, with single \
                    '.', '_' or dashes between them: say one with --guid.
                    """)
            }
        }

        private var shownName: String {
            name ?? URL(fileURLWithPath: file).deletingPathExtension().lastPathComponent
        }

        func run() async throws {
            let name = shownName
            let file = try UploadFile.input(file)
            let query = [("name", name), ("position", position.map { String($0) })].compactMap { key, value in
                value.map { "\(key)=\($0.urlComponent)" }
            }
            let path = "/buildpacks/\((guid ?? name).urlComponent)?" + query.joined(separator: "&")
            let bar = ProgressBar("uploading \(name)", total: file.size)
            try await server.ask { (client) -> JSONValue in
                defer { bar.clear() }
                return try await client.upload(file, to: path) { bar.show($0) }
            } print: { answer in
                printable("installed \(name), sha256:\(answer["sha256"]?.string ?? "")") + "\n"
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the installed buildpacks, in their order.")

        @OptionGroup var server: ServerOptions

        func run() async throws {
            try await server.ask { (client) -> JSONValue in
                try await client.send(.get, "/buildpacks")
            } print: { answer in
                var table = Table(["GUID", "NAME", "STACK", "POSITION", "ENABLED", "SHA256"])
                for buildpack in InstalledBuildpack.list(answer) {
                    table.add([
                        buildpack.guid, buildpack.name, buildpack.stack ?? "(any)",
                        buildpack.position.map { String($0) } ?? "", buildpack.isEnabled ? "yes" : "no",
                        String(buildpack.sha256.prefix(16)),
                    ])
                }
                return table.text
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove an installed buildpack.")

        @OptionGroup var server: ServerOptions
        @Option(help: "Its guid.") var guid: String

        func run() async throws {
            try await server.change(.delete, "/buildpacks/\(guid.urlComponent)", printing: "removed\n")
        }
    }
}

/// A buildpack that the server has.
struct InstalledBuildpack: Sendable {
    let guid: String
    let name: String
    /// nil: any.
    let stack: String?
    let position: Int64?
    let isEnabled: Bool
    let sha256: String

    /// Those in the answer of `GET /buildpacks`, in their order.
    static func list(_ answer: JSONValue) -> [InstalledBuildpack] {
        (answer["buildpacks"]?.array ?? []).compactMap { item in
            guard let guid = item["guid"]?.string, let sha256 = item["sha256"]?.string else { return nil }
            return InstalledBuildpack(
                guid: guid, name: item["name"]?.string ?? guid, stack: item["stack"]?.string,
                position: item["position"]?.integer, isEnabled: item["enabled"]?.bool ?? true, sha256: sha256)
        }
    }
}
