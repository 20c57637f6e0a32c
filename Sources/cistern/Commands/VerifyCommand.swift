import ArgumentParser
import JSON
import Transfer

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read and hash everything again, while the server goes on.",
        discussion: "Damaged blobs are quarantined: push them again. Ends with 1 if something is damaged.")

    @OptionGroup var server: ServerOptions
    @Flag(help: "Correct what can be corrected, and delete bytes that nothing names.") var repair = false
    @Option(help: "Read at most so many MiB a second.") var rate = 64

    func run() async throws {
        guard rate > 0 else { throw ValidationError("--rate must be more than 0") }
        let query = "?repair=\(repair)&rate=\(Int64(rate) << 20)"
        let bar = ProgressBar("verifying", total: 0)
        let report = try await server.ask { client in
            defer { bar.clear() }
            _ = try await client.send(.post, "/api/v1/verify" + query)
            while true {
                let status = try await client.send(.get, "/api/v1/verify")
                if let bytes = status["running"]?["bytes"]?.integer {
                    bar.note("\(byteCount(bytes)) read")
                    try await Task.sleep(for: .milliseconds(200))
                    continue
                }
                if let failure = status["failure"]?.string { throw CommandError("the verification failed: \(failure)") }
                return status["last"] ?? .null
            }
        } print: {
            text(of: $0)
        }
        if report["damagedBlobs"]?.integer != 0 { throw ExitCode.failure }
    }

    private func text(of report: JSONValue) -> String {
        func count(_ name: String) -> Int64 { report[name]?.integer ?? 0 }
        var fields = Fields()
        fields.add("read", "\(count("blobs")) blobs, \(byteCount(count("bytes")))")
        fields.add("damaged", "\(count("damagedBlobs")) blobs")
        for damage in report["damaged"]?.array ?? [] {
            fields.add("", "\(damage["digest"]?.string ?? ""): \(damage["reason"]?.string ?? "")")
            for user in damage["users"]?.array ?? [] { fields.add("", "  in \(user.string ?? "")") }
        }
        let done = report["repaired"]?.bool == true
        fields.add("not in the catalog", "\(count("unlisted")) of \(count("repositories")) repositories")
        fields.add("point to nothing", "\(count("dangling")) tags and referrers")
        fields.add("not among referrers", "\(count("unlinked")) manifests")
        fields.add("unused bytes", "\(count("orphans")) files, \(byteCount(count("orphanBytes")))")
        if count("unreadable") > 0 {
            fields.add(
                "unreadable", "\(count("unreadable")) records: no bytes are deleted before these are pushed again")
        }
        let faults = count("unlisted") + count("dangling") + count("unlinked") + count("orphans")
        if faults > 0 { fields.add("", done ? "all of these were repaired" : "cistern verify --repair corrects these") }
        return fields.text
    }
}
