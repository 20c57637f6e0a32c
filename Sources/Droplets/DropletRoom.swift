import Blobs
import JSON
import Layers
import Rootfs
import Synchronization

/// What a droplet on its way takes of its repository's quotas: its bytes as they come, and its layers as they are made.
final class DropletRoom: Sendable {
    private struct Sizes {
        /// What the sender announced.
        var announced: Int64 = 0
        var original: Int64 = 0
        var layers: Int64 = 0

        var total: Int64 { max(announced, original).clampedAdding(layers) }
    }

    private let reservation: QuotaReservation
    private let sizes = Mutex(Sizes())

    init(_ reservation: QuotaReservation) { self.reservation = reservation }

    /// - Throws: `.overQuota`, `.uncounted`, as all here.
    func expect(original bytes: Int64) async throws(BlobError) { try await cover { $0.announced = bytes } }

    /// A droplet whose layers are there already.
    func expect(_ known: Conversion) async throws(ImageError) {
        do {
            try await cover { sizes in
                sizes.announced = known.size
                sizes.layers = known.content.layers.totalSize
            }
        } catch { throw .blob(error) }
    }

    func add(original bytes: Int) async throws(BlobError) { try await cover { $0.original += Int64(bytes) } }
    func add(layer bytes: Int) async throws(BlobError) {
        try await cover { $0.layers = $0.layers.clampedAdding(Int64(bytes)) }
    }

    /// The layers that were made are thrown away.
    func restartLayers() { sizes.withLock { $0.layers = 0 } }

    /// The droplet is there.
    func commit(_ record: DropletRecord) { reservation.commit(record.logicalBytes) }

    private func cover(_ change: (inout Sizes) -> Void) async throws(BlobError) {
        let total = sizes.withLock { sizes in
            change(&sizes)
            return sizes.total
        }
        try await reservation.cover(total)
    }
}

extension DropletRecord {
    /// What its repository holds by it: the bytes that were uploaded, and its layers.
    var logicalBytes: Int64 { size.clampedAdding(content.layers.totalSize) }
}
