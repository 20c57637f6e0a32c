import ArgumentParser
import OperatorModel
import Transfer

struct UsageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage", abstract: "What repositories hold and the store does, and how much they may.",
        discussion: "Quotas stand in the data directory's policy.yaml; the store's limit is a setting.")

    @OptionGroup var server: ServerOptions
    @Flag(help: "Count anew first.") var count = false

    func run() async throws {
        try await server.ask { (client) -> Usage in
            guard count else { return try await client.send(.get, apiPath("usage")) }
            return try await client.follow(try await client.send(.post, apiPath("usage"))).result()
        } print: {
            text(of: $0)
        }
    }

    private func text(of usage: Usage) -> String {
        func bytes(_ value: Int64?) -> String { value.map(byteCount) ?? "-" }
        var table = Table(["QUOTA", "USED", "HELD", "LIMIT", "REFUSED"])
        func add(_ name: String, _ limit: Limit) {
            table.add([name, bytes(limit.used), bytes(limit.reserved), bytes(limit.limit), String(limit.denied)])
        }
        add("(the store)", usage.store)
        for quota in usage.quotas { add(quota.repositories, quota.limit) }
        guard let counted = usage.counted else {
            return table.text + "Nothing is counted yet: `cistern usage --count` does it.\n"
        }
        var fields = Fields()
        fields.add("counted", "\(counted.at)")
        fields.add("repositories", "\(counted.repositories), \(bytes(counted.logicalBytes)) together")
        fields.add("content", "\(bytes(counted.storeBytes)) in the store")
        for holder in counted.largest.prefix(10) { fields.add("", "\(bytes(holder.bytes))  \(holder.repository)") }
        return table.text + fields.text
    }
}
