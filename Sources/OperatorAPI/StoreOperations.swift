import Blobs
import Images
import JSON
package import Logging
package import Operations
import OperatorModel
package import Registry
import Runtime

/// Work on the store as a whole, of which one of a kind runs at a time: operators ask for it, and schedules.
package struct StoreOperations: Sendable {
    private enum Kind {
        static let collection = "gc"
        static let verification = "verify"
        static let count = "usage"
    }

    private let operations: OperationRunner
    private let collections: CollectionRunner
    private let verifier: Verifier
    package let usage: UsageCounter
    private let logger: Logger

    package init(
        operations: OperationRunner, collections: CollectionRunner, verifier: Verifier, usage: UsageCounter,
        logger: Logger
    ) {
        self.operations = operations
        self.collections = collections
        self.verifier = verifier
        self.usage = usage
        self.logger = logger
    }

    /// - Parameter by: nil: a schedule.
    @discardableResult
    package func collect(dryRun: Bool, by: String?) async throws(OperationError) -> OperationRecord {
        let request = OperationRequest(
            kind: Kind.collection, by: by, parameters: ["dry-run": "\(dryRun)"], isAlone: true)
        return try await operations.begin(request) { operation in
            let report = try await collections.run(dryRun: dryRun) { report in
                operation.advance(to: .init(done: Int64(report.blobs), unit: "blobs"), report.model.json)
            }
            logger.notice(
                "collected garbage",
                metadata: [
                    "dry-run": "\(dryRun)", "retired": "\(report.retired)", "bytes": "\(report.retiredBytes)",
                    "blobs": "\(report.blobs)",
                ])
            return report.model.json
        }
    }

    /// - Parameter rate: how many bytes a second are read at most.
    func verify(rate: Int64, repair: Bool, by: String) async throws(OperationError) -> OperationRecord {
        let request = OperationRequest(
            kind: Kind.verification, by: by, parameters: ["rate": "\(rate)", "repair": "\(repair)"], isAlone: true)
        return try await operations.begin(request) { operation in
            try await verifier.verify(rate: rate, repair: repair) { report in
                operation.advance(to: .init(done: report.bytes, unit: "bytes"), report.model.json)
            }.model.json
        }
    }

    /// - Parameter by: nil: a schedule.
    @discardableResult
    package func count(by: String?) async throws(OperationError) -> OperationRecord {
        try await operations.begin(OperationRequest(kind: Kind.count, by: by, isAlone: true)) { _ in
            try await usage.count()
            usage.quotas.usage.log(to: logger)
            return usage.quotas.usage.model.json
        }
    }

    /// How collecting and verifying go.
    func status() async throws(OperationError) -> (CollectionStatus, VerificationStatus) {
        let records = try await operations.list()
        let collections = records.filter { $0.kind == Kind.collection }
        let lastCollection = collections.first { $0.state == .done && $0.parameters["dry-run"] == "false" }
        let verifications = records.filter { $0.kind == Kind.verification }
        let lastVerification = verifications.first { $0.state == .done }
        let newest = verifications.first { $0.state != .running }
        return (
            CollectionStatus(
                running: collections.first { $0.state == .running }.map {
                    $0.reported(GarbageCollection.self) ?? CollectionReport().model
                },
                last: lastCollection?.reported(GarbageCollection.self), lastEnded: lastCollection?.endedModel),
            VerificationStatus(
                running: verifications.first { $0.state == .running }.map {
                    $0.reported(Verification.self) ?? VerificationReport().model
                },
                last: lastVerification?.reported(Verification.self), lastEnded: lastVerification?.endedModel,
                failure: newest.flatMap { $0.state == .done ? nil : $0.failure?.message ?? $0.state.rawValue })
        )
    }
}

extension OperationRecord {
    fileprivate var endedModel: Time? { ended.map { Timestamp(nanoseconds: $0).model } }
}

extension QuotaUsage {
    /// The share of a limit from which on its use is worth a warning.
    private static let tight = 0.9

    /// Logs a count: the totals, and each limit that is nearly reached.
    fileprivate func log(to logger: Logger) {
        guard let count else { return }
        logger.info(
            "counted usage",
            metadata: [
                "store": "\(count.storeBytes)", "logical": "\(count.logicalBytes)",
                "repositories": "\(count.repositories)", "duration": "\(count.duration)",
            ])
        for (repositories, total) in [("the store", store)] + quotas {
            guard let limit = total.limit, let used = total.used, Double(used) >= Double(limit) * Self.tight else {
                continue
            }
            logger.warning(
                "a quota is nearly used up",
                metadata: [
                    "repositories": "\(repositories)", "used": "\(used)", "limit": "\(limit)",
                    "denied": "\(total.denied)",
                ])
        }
    }
}
