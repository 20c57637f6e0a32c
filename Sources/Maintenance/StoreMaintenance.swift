package import Blobs
package import Logging
package import ObjectStore
package import Operations
package import OperatorModel
package import Runtime

/// Maintenance of the whole store, at the request of operators and schedules. One operation of a kind runs at a time.
package struct StoreMaintenance: Sendable {
    private enum Kind {
        static let collection = "gc"
        static let verification = "verify"
        static let count = "usage"
    }

    private let operations: OperationRunner
    private let owners: ContentOwners
    private let retention: Retention
    private let collector: GarbageCollector
    private let verifier: Verifier
    private let counter: UsageCounter
    private let executor: (any TaskExecutor)?
    private let logger: Logger

    /// - Parameters:
    ///   - quotas: receives the results of counts.
    ///   - reading: the store below the cache, since maintenance would evict what is in use.
    ///   - executor: runs collections and counts; nil: the default executor.
    ///   - now: nanoseconds since 1970.
    package init(
        operations: OperationRunner, owners: ContentOwners, retention: Retention, blobs: BlobStore, quotas: QuotaLedger,
        reading: any ObjectStore, executor: (any TaskExecutor)? = nil, now: @escaping @Sendable () -> Int64,
        logger: Logger
    ) {
        self.operations = operations
        self.owners = owners
        self.retention = retention
        // One process owns the store, and the store's clock is its own, so there is no clock skew.
        collector = GarbageCollector(owners: owners, blobs: blobs, reading: reading, clockSkew: 0)
        verifier = Verifier(owners: owners, blobs: blobs, reading: reading)
        counter = UsageCounter(quotas: quotas, owners: owners, reading: reading, now: now)
        self.executor = executor
        self.logger = logger
    }

    package var quotas: QuotaLedger { counter.quotas }

    /// Begins a garbage collection, after retention.
    /// - Parameter by: the user who asks for it; nil for a schedule.
    @discardableResult
    package func collect(dryRun: Bool, by: String?) async throws(OperationError) -> OperationRecord {
        let request = OperationRequest(
            kind: Kind.collection, by: by, parameters: ["dry-run": "\(dryRun)"], isAlone: true)
        return try await operations.begin(request) { operation in
            let retired = try await retention.apply(to: owners, dryRun: dryRun)
            let report = try await withTaskExecutorPreference(executor) {
                try await collector.collect(after: retired, dryRun: dryRun) { report in
                    operation.advance(to: .init(done: Int64(report.blobs), unit: "blobs"), report.model.json)
                }
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

    /// Begins a verification.
    /// - Parameter rate: how many bytes are read per second at most.
    package func verify(rate: Int64, repair: Bool, by: String) async throws(OperationError) -> OperationRecord {
        let request = OperationRequest(
            kind: Kind.verification, by: by, parameters: ["rate": "\(rate)", "repair": "\(repair)"], isAlone: true)
        return try await operations.begin(request) { operation in
            try await verifier.verify(rate: rate, repair: repair) { report in
                operation.advance(to: .init(done: report.bytes, unit: "bytes"), report.model.json)
            }.model.json
        }
    }

    /// Begins a count of what is used of the limits.
    /// - Parameter by: the user who asks for it; nil for a schedule.
    @discardableResult
    package func count(by: String?) async throws(OperationError) -> OperationRecord {
        try await operations.begin(OperationRequest(kind: Kind.count, by: by, isAlone: true)) { operation in
            try await withTaskExecutorPreference(executor) {
                _ = try await counter.count { repositories in
                    operation.advance(to: .init(done: Int64(repositories), unit: "repositories"))
                }
            }
            quotas.usage.log(to: logger)
            return quotas.usage.model.json
        }
    }

    /// The state of collections and verifications: what runs, and the last results.
    package func status() async throws(OperationError) -> (CollectionStatus, VerificationStatus) {
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
    /// The decoded report; nil if there is none.
    fileprivate func reported<Report: Model>(_: Report.Type) -> Report? { try? Report(json: report) }
    fileprivate var endedModel: Time? { ended.map { Timestamp(nanoseconds: $0).model } }
}

extension QuotaUsage {
    /// The used share of a limit from which on a warning is logged.
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

// MARK: API models

extension Timestamp {
    package var model: Time { Time(rfc3339) }
}

extension CollectionReport {
    package var model: GarbageCollection {
        GarbageCollection(
            blobs: blobs, damaged: damaged, leased: leased, marked: marked, repositories: repositories,
            repositoriesRead: repositoriesRead, retired: retired, retiredBytes: retiredBytes,
            retention: .init(
                droplets: retention.droplets.count, manifests: retention.manifests,
                rootfsVersions: retention.rootfs.count, bits: retention.bits, withheld: retention.withheld),
            spared: spared)
    }
}

extension VerificationReport {
    package var model: Verification {
        Verification(
            blobs: blobs, bytes: bytes, damagedBlobs: damagedCount,
            damaged: damages.map { .init(digest: $0.digest, reason: $0.reason, users: $0.users) }, dangling: dangling,
            orphanBytes: orphanBytes, orphans: orphans, repaired: isRepaired, repositories: repositories,
            unlinked: unlinked, unreadable: unreadable,
            unreadableRecords: unreadableRecords.map {
                .init(key: $0.key, kind: $0.kind, reason: $0.reason, outcome: $0.outcome.rawValue)
            }, unlisted: unlisted)
    }
}

extension QuotaUsage {
    package var model: Usage {
        Usage(
            counting: isCounting, store: store.model,
            quotas: quotas.map { .init(repositories: $0.repositories, limit: $0.total.model) },
            counted: count.map { count in
                .init(
                    at: Timestamp(nanoseconds: count.ended).model, repositories: count.repositories,
                    logicalBytes: count.logicalBytes, storeBytes: count.storeBytes,
                    largest: count.largest.map { .init(repository: $0.repository, bytes: $0.bytes) })
            })
    }
}

extension QuotaUsage.Total {
    fileprivate var model: Limit { Limit(limit: limit, used: used, reserved: reserved, denied: Int64(denied)) }
}
