import ArgumentParser
import OperatorModel
import Transfer

struct CollectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Collect content that nothing refers to, while the server goes on.")

    @OptionGroup var server: ServerOptions
    @Flag(help: "Only say what would go, and how many bytes.") var dryRun = false

    func run() async throws {
        try await server.follow { client in
            try await client.send(.post, apiPath("gc", query: ["dry-run": dryRun ? "true" : nil]))
        } print: {
            text(of: $0)
        }
    }

    private func text(of report: GarbageCollection) -> String {
        var fields = Fields()
        fields.add(dryRun ? "would go" : "collected", "\(report.retired) blobs, \(byteCount(report.retiredBytes))")
        fields.add("in use", "\(report.marked) digests, in \(report.repositories) repositories and images")
        fields.add("kept for now", "\(report.leased) that somebody relied on of late")
        fields.add("looked at", "\(report.blobs) blobs, and \(report.repositoriesRead) repositories that changed")
        if report.damaged > 0 { fields.add("damaged", "\(report.damaged) records: run `cistern verify`") }
        let retention = report.retention
        fields.add(
            "retired before",
            "\(retention.droplets) droplets, \(retention.rootfsVersions) rootfs versions, "
                + "\(retention.manifests) untagged manifests, \(retention.bits ?? 0) unused app bits")
        fields.add("withheld", retention.withheld)
        return fields.text
    }
}
