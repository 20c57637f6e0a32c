public import Blobs
import JSON
import OCI
public import Rootfs
import Runtime
import Synchronization

extension DropletCatalog {
    /// How many droplets there are of each stack and architecture. The first call reads all records; from then on this
    /// process keeps the numbers itself, because it is the store's only writer.
    public func counts() async throws(ImageError) -> [StackName: [Architecture: Int]] {
        let counts = try await tally.counts { (after) throws(ImageError) in
            try await list(startAfter: after, limit: 500)
        }
        var result: [StackName: [Architecture: Int]] = [:]
        for (base, count) in counts { result[base.stack, default: [:]][base.architecture] = count }
        return result
    }
}

extension DropletCatalog {
    /// Whether an app has a droplet.
    func has(_ guid: DropletGUID, _ sha256: String) async throws(ImageError) -> Bool {
        try await droplets(of: guid).contains { $0.hash == sha256 }
    }

    /// Reports to a count how many bytes each app's droplets take.
    public func countUsage(_ count: QuotaCount) async throws(ImageError) {
        var after: String?
        var app: (guid: DropletGUID, bytes: Int64)?
        while true {
            if Task.isCancelled { throw .cancelled }
            count.goOn(.droplets)
            let page = try await list(startAfter: after, limit: 100)
            if let last = page.records.last, page.next != nil { count.reached(last.guid.repository, .droplets) }
            for record in page.records {
                if record.guid != app?.guid {
                    if let app { count.add(app.guid.repository, app.bytes) }
                    app = (record.guid, 0)
                }
                app = (record.guid, (app?.bytes ?? 0).clampedAdding(record.logicalBytes))
            }
            guard let next = page.next else { break }
            after = next
        }
        if let app { count.add(app.guid.repository, app.bytes) }
    }
}

/// The key that droplets are counted by: those of one stack and architecture have the same rootfs layers below.
struct DropletBase: Hashable, Sendable {
    let stack: StackName
    let architecture: Architecture
}

/// How many droplets there are of each base: counted once, by reading all records, and kept up to date from then on.
///
/// It takes a few dozen bytes of memory per droplet, from the first call on.
final class DropletTally: Sendable {
    private struct State {
        /// By a 64-bit hash of guid and digest: among 40,000 droplets a collision is less likely than a broken disk.
        var bases: [Int: DropletBase] = [:]
        var counts: [DropletBase: Int] = [:]
        /// Droplets removed during the count, which a page read earlier may still contain.
        var gone: Set<Int> = []
        var isComplete = false

        mutating func set(_ key: Int, _ base: DropletBase?) {
            if let old = bases[key] { counts[old, default: 0] -= 1 }
            bases[key] = base
            if let base { counts[base, default: 0] += 1 }
        }
    }

    private let state = Mutex(State())
    private let counting = SingleFlight<Bool, Bool>()

    func added(_ record: DropletRecord) {
        state.withLock { state in
            state.gone.remove(record.tallyKey)
            state.set(record.tallyKey, record.base)
        }
    }

    func removed(_ record: DropletRecord) {
        state.withLock { state in
            if !state.isComplete { state.gone.insert(record.tallyKey) }
            state.set(record.tallyKey, nil)
        }
    }

    /// - Parameter page: returns the records after a place, and the next place.
    func counts(
        _ page: (_ after: String?) async throws(ImageError) -> (records: [DropletRecord], next: String?)
    ) async throws(ImageError) -> [DropletBase: Int] {
        if !state.withLock({ $0.isComplete }) {
            _ = try await counting.value(for: true) { () throws(ImageError) in
                try await count(page)
                return true
            }
        }
        return state.withLock { $0.counts.filter { $0.value > 0 } }
    }

    private func count(
        _ page: (_ after: String?) async throws(ImageError) -> (records: [DropletRecord], next: String?)
    ) async throws(ImageError) {
        if state.withLock({ $0.isComplete }) { return }
        var after: String?
        repeat {
            if Task.isCancelled { throw .cancelled }
            let (records, next) = try await page(after)
            state.withLock { state in
                for record in records where !state.gone.contains(record.tallyKey) {
                    state.set(record.tallyKey, record.base)
                }
            }
            after = next
        } while after != nil
        state.withLock { state in
            state.isComplete = true
            state.gone = []
        }
    }
}

extension DropletRecord {
    var base: DropletBase { DropletBase(stack: stack, architecture: architecture) }

    /// Differs between processes, since `Hasher` is seeded at random: never store it.
    fileprivate var tallyKey: Int {
        var hasher = Hasher()
        hasher.combine(guid)
        hasher.combine(hash)
        return hasher.finalize()
    }
}
