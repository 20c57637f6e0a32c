import ArgumentParser
import JSON
import Transfer

struct UsageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage", abstract: "What repositories hold and the store does, and how much they may.",
        discussion: "Quotas stand in the data directory's policy.yaml; the store's limit is a setting.")

    @OptionGroup var server: ServerOptions
    @Flag(help: "Count anew first.") var count = false

    func run() async throws {
        try await server.ask { client in
            try await client.send(count ? .post : .get, "/api/v1/usage")
        } print: { usage in
            text(of: usage)
        }
    }

    private func text(of usage: JSONValue) -> String {
        func bytes(_ value: JSONValue?) -> String { value?.integer.map(byteCount) ?? "-" }
        var table = Table(["QUOTA", "USED", "HELD", "LIMIT", "REFUSED"])
        func add(_ name: String, _ total: JSONValue?) {
            table.add([
                name, bytes(total?["used"]), bytes(total?["reserved"]), bytes(total?["limit"]),
                String(total?["denied"]?.integer ?? 0),
            ])
        }
        add("(the store)", usage["store"])
        for quota in usage["quotas"]?.array ?? [] { add(quota["repositories"]?.string ?? "", quota) }
        guard let counted = usage["counted"], counted != .null else {
            return table.text + "Nothing is counted yet: cistern usage --count does it.\n"
        }
        var fields = Fields()
        fields.add("counted", counted["at"]?.string)
        fields.add(
            "repositories", "\(counted["repositories"]?.integer ?? 0), \(bytes(counted["logicalBytes"])) together")
        fields.add("content", "\(bytes(counted["storeBytes"])) in the store")
        for holder in (counted["largest"]?.array ?? []).prefix(10) {
            fields.add("", "\(bytes(holder["bytes"]))  \(holder["repository"]?.string ?? "")")
        }
        return table.text + fields.text
    }
}
