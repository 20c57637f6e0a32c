import ArgumentParser
import JSON
import Transfer

struct RootfsShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one version, or what of a stack is current.")

    /// How much of a stack's history the screen has.
    private static let shownPromotions = 20

    @OptionGroup var server: ServerOptions
    @Option(help: "The stack.") var stack: String
    @Option(help: "The version; without it, the stack's current one and its history.") var version: String?

    func run() async throws {
        let stack = stack.urlComponent
        let path = version.map { "/api/v1/rootfs/\(stack)/\($0.urlComponent)" } ?? "/api/v1/rootfs/\(stack)/current"
        try await server.ask {
            try await $0.send(.get, path)
        } print: { answer in
            version == nil ? Self.current(answer) : Self.details(answer)
        }
    }

    /// What is current, for whom, how it came to that, and how to go back.
    private static func current(_ answer: JSONValue) -> String {
        let stack = answer["stack"]?.string ?? ""
        let version = answer["version"]?.string ?? ""
        let history = answer["history"]?.array ?? []
        var fields = Fields()
        fields.add("stack", stack)
        fields.add("current", version + (answer["state"]?.string == "deprecated" ? " (deprecated)" : ""))
        let last = history.first
        fields.add("since", "\(answer["since"]?.string ?? "") by \(last?["by"]?.string ?? "")")
        fields.add("why", last?["reason"]?.string)
        fields.add("before", history.dropFirst().first?["version"]?.string ?? "nothing")
        fields.add("droplets", "\(answer["droplets"]?.integer ?? 0) get it with the next pull by tag")
        var text = fields.text + "\n" + table(history)
        if history.count > shownPromotions { text += "… and \(history.count - shownPromotions) before (--json)\n" }
        if let target = answer["rollback"]?.string {
            text += "\nTo go back to \(printable(target)): cistern rootfs rollback --stack \(printable(stack))\n"
        } else {
            text += "\nThere is nothing to go back to.\n"
        }
        return text
    }

    private static func table(_ promotions: [JSONValue]) -> String {
        var table = Table(["VERSION", "HOW", "AT", "BY", "WHY"])
        for promotion in promotions.prefix(shownPromotions) {
            table.add(["version", "kind", "at", "by", "reason"].map { promotion[$0]?.string ?? "" })
        }
        return table.text
    }

    private static func details(_ answer: JSONValue) -> String {
        var fields = Fields()
        fields.add("version", "\(answer["stack"]?.string ?? "") \(answer["version"]?.string ?? "")")
        fields.add("current", answer["current"]?.bool == true ? "yes" : "no")
        fields.add("droplets", "\(answer["droplets"]?.integer ?? 0)")
        let state = answer["state"] ?? .null
        fields.add("state", state["state"]?.string)
        if let by = state["by"]?.string { fields.add("said", "\(state["at"]?.string ?? "") by \(by)") }
        fields.add("why", state["reason"]?.string)
        let variants = (answer["versions"]?.array ?? []).map(variant)
        let promotions = answer["promotions"]?.array ?? []
        return fields.text + "\n" + variants.joined(separator: "\n")
            + (promotions.isEmpty ? "\nNever promoted.\n" : "\n" + table(promotions))
    }

    private static func variant(_ version: JSONValue) -> String {
        var fields = Fields()
        fields.add("architecture", version["architecture"]?.string)
        fields.add("system", version["system"]?.string)
        fields.add("packages", version["packages"]?.integer.map { String($0) })
        fields.add("shell", version["shell"]?.string)
        fields.add("source", version["source"]?.string)
        fields.add("kind", version["sourceKind"]?.string)
        fields.add("from", version["sourceName"]?.string)
        fields.add("signed by", version["signedBy"]?.string)
        fields.add("size", version["size"]?.integer.map { byteCount($0) })
        fields.add("newest file", version["created"]?.string)
        fields.add("imported", "\(version["imported"]?.string ?? "") by \(version["importedBy"]?.string ?? "")")
        fields.add(layersOf: version)
        return fields.text
    }
}
