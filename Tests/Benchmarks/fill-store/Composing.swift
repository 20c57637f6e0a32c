import Blobs
import Foundation
import Images
import Logging
import ObjectStore

/// Reads every droplet's record of a store and composes its image on a rootfs version, as the first pull after a
/// promotion does, in two tasks. Prints how many there were and the seconds that it took.
func composeAll(_ root: String, version: String, launch: String) async throws {
    let logger = Logger(label: "fill-store") { StreamLogHandler.standardError(label: $0) }
    let store = try FilesystemObjectStore(root: root, logger: logger)
    let now = { @Sendable () -> Int64 in 0 }
    let blobs = BlobStore(store: store, now: now)
    let droplets = DropletCatalog(store: store, blobs: blobs, conversions: 1, now: now)
    let program = Array(try Data(contentsOf: URL(fileURLWithPath: launch)))
    let images = DerivedImages(
        droplets: droplets, rootfs: try await RootfsCatalog(store: store, blobs: blobs, now: now),
        recipes: try await RecipeBook(store: store),
        lifecycle: [.amd64: try await LifecycleLayer.install(launch: program, in: blobs, store: store)])
    let name = try VersionName(version)
    let start = ContinuousClock.now
    var count = 0
    var after: String?
    repeat {
        let page = try await droplets.list(startAfter: after, limit: 1000)
        let halves = [page.records.prefix(page.records.count / 2), page.records.suffix((page.records.count + 1) / 2)]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for half in halves {
                group.addTask {
                    for record in half {
                        guard let hash = DropletHash(record.hash) else { continue }
                        _ = try await images.image(record.guid, DropletTag(hash: hash, version: name), .oci)
                    }
                }
            }
            try await group.waitForAll()
        }
        count += page.records.count
        after = page.next
    } while after != nil
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    print("\(count) images in \(Double(seconds) + Double(attoseconds) / 1e18) seconds")
    try await store.close()
}
