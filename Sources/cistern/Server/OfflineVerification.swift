import Bits
import Blobs
import Droplets
import Foundation
import Images
import Logging
import Maintenance
import ObjectStore
import Records
import Registry
import Rootfs
import Runtime
import StagingService

/// Verifies the store of a server that does not run, or does not start. Meanwhile it owns the store, as a server does.
struct OfflineVerification {
    let directory: DataDirectory

    /// - Throws: `CommandError` if there is no store.
    func run(
        rate: Int64, repair: Bool, progress: @escaping @Sendable (VerificationReport) -> Void
    ) async throws -> VerificationReport {
        guard FileManager.default.fileExists(atPath: directory.store) else {
            throw CommandError("\(directory.path) has no store: give the data directory of a server")
        }
        let store = try FilesystemObjectStore(root: directory.store, logger: Logger(label: "cistern") { _ in Silent() })
        do {
            let report = try await verify(store, rate, repair, progress)
            try await store.close()
            return report
        } catch {
            try? await store.close()
            throw error
        }
    }

    private func verify(
        _ store: FilesystemObjectStore, _ rate: Int64, _ repair: Bool,
        _ progress: @escaping @Sendable (VerificationReport) -> Void
    ) async throws -> VerificationReport {
        let unreadable = UnreadableRecords()
        let blobs = BlobStore(store: store, now: SystemClock.now, unreadable: unreadable)
        let registry = Registry(store: store, blobs: blobs, now: SystemClock.now)
        let images = DerivedImages(
            droplets: DropletCatalog(
                store: store, blobs: blobs, conversions: 1, unreadable: unreadable, now: SystemClock.now),
            rootfs: try await RootfsCatalog(store: store, blobs: blobs, unreadable: unreadable, now: SystemClock.now),
            recipes: try await RecipeStore(store: store, unreadable: unreadable), lifecycle: [:])
        let builds = try await BuildRootfsCatalog(
            store: store, blobs: blobs, unreadable: unreadable, now: SystemClock.now)
        let owners = ContentOwners(
            registry: registry, images: images, builds: builds,
            bits: BitsCatalog(
                store: store, blobs: blobs, limits: BitsLimits(bytes: .max), unreadable: unreadable,
                now: SystemClock.now),
            others: [StagingTaskRecords()])
        return try await Verifier(owners: owners, blobs: blobs, reading: store)
            .verify(rate: rate, repair: repair, progress: progress)
    }

    /// The log is discarded, since the report says the same.
    private typealias Silent = SwiftLogNoOpLogHandler
}
