import ArgumentParser
import JSON
import Transfer

struct CollectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Collect content that nothing refers to, while the server goes on.")

    @OptionGroup var server: ServerOptions
    @Flag(help: "Only say what would go, and how many bytes.") var dryRun = false

    func run() async throws {
        try await server.ask { client in
            try await client.send(.post, "/api/v1/gc" + (dryRun ? "?dry-run=true" : ""))
        } print: { report in
            var fields = Fields()
            func count(_ name: String) -> Int64 { report[name]?.integer ?? 0 }
            fields.add(
                dryRun ? "would go" : "collected", "\(count("retired")) blobs, \(byteCount(count("retiredBytes")))")
            fields.add("in use", "\(count("marked")) digests, in \(count("repositories")) repositories and images")
            fields.add("kept for now", "\(count("leased")) that somebody relied on of late")
            fields.add(
                "looked at", "\(count("blobs")) blobs, and \(count("repositoriesRead")) repositories that changed")
            if count("damaged") > 0 { fields.add("damaged", "\(count("damaged")) records: run cistern verify") }
            let retention = report["retention"]
            func retired(_ name: String) -> Int64 { retention?[name]?.integer ?? 0 }
            fields.add(
                "retired before",
                "\(retired("droplets")) droplets, \(retired("rootfsVersions")) rootfs versions, "
                    + "\(retired("manifests")) untagged manifests")
            if let reason = retention?["withheld"]?.string { fields.add("withheld", reason) }
            return fields.text
        }
    }
}
