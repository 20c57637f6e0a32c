import ArgumentParser
import JSON
import Maintenance
import OperatorAPI
import OperatorModel
import Transfer

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read and hash everything again, while the server goes on.",
        discussion: """
            Damaged blobs are quarantined: push them again. Records that can't be read are named; --repair writes those that \
            are damaged again from what else is known, or sets them aside. With --data the store of a server that does not \
            run is verified. Ends with 1 if something is damaged.
            """)

    @OptionGroup var server: ServerOptions
    @Option(help: "Verify this data directory, whose server does not run, instead of asking a server.")
    var data: String?
    @Flag(help: "Correct what can be corrected, and delete bytes that nothing names.") var repair = false
    @Option(help: "Read at most so many MiB a second.") var rate = 64

    func run() async throws {
        guard rate > 0 else { throw ValidationError("--rate must be more than 0") }
        let report = if let data { try await verify(data) } else { try await ask() }
        let isWhole = report.damagedBlobs == 0 && report.unreadableRecords.allSatisfy { $0.outcome != "kept" }
        if !isWhole { throw ExitCode.failure }
    }

    private func verify(_ data: String) async throws -> Verification {
        let bar = ProgressBar("verifying", total: 0)
        defer { bar.clear() }
        let report = try await OfflineVerification(directory: DataDirectory(path: data)).run(
            rate: Int64(rate) << 20, repair: repair
        ) { bar.note("\(byteCount($0.bytes)) read") }.model
        bar.clear()
        print(server.json ? report.json.prettyText : text(of: report), terminator: server.json ? "\n" : "")
        return report
    }

    private func ask() async throws -> Verification {
        let path = apiPath("verify", query: ["repair": String(repair), "rate": String(Int64(rate) << 20)])
        return try await server.follow {
            try await $0.send(.post, path)
        } print: {
            text(of: $0)
        }
    }

    private func text(of report: Verification) -> String {
        var fields = Fields()
        fields.add("read", "\(report.blobs) blobs, \(byteCount(report.bytes))")
        fields.add("damaged", "\(report.damagedBlobs) blobs")
        for damage in report.damaged {
            fields.add("", "\(damage.digest): \(damage.reason)")
            for user in damage.users { fields.add("", "  in \(user)") }
        }
        fields.add("not in the catalog", "\(report.unlisted) of \(report.repositories) repositories")
        fields.add("point to nothing", "\(report.dangling) tags and referrers")
        fields.add("not among referrers", "\(report.unlinked) manifests")
        fields.add("unused bytes", "\(report.orphans) files, \(byteCount(report.orphanBytes))")
        if report.unreadable > 0 {
            fields.add("unreadable", "\(report.unreadable) records")
            for record in report.unreadableRecords {
                fields.add("", "\(record.kind) \(record.key), \(record.outcome): \(record.reason)")
            }
        }
        if report.unlisted + report.dangling + report.unlinked + report.orphans > 0 {
            fields.add("", report.repaired ? "all of these were repaired" : "`cistern verify --repair` corrects these")
        }
        return fields.text
    }
}
