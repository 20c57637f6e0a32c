public import Blobs
import JSON
import OCI
public import Rootfs
import Runtime
import Synchronization

extension DropletCatalog {
    /// How many droplets there are of each stack and architecture. The first to ask waits until all records are read; from
    /// then on the number is kept, by this process, which is the store's only writer.
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

    /// Tells a count what each app's droplets take.
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

/// What droplets are counted by: those of one stack and architecture sit on the same layers.
struct DropletBase: Hashable, Sendable {
    let stack: StackName
    let architecture: Architecture
}

/// How many droplets there are of each base: counted once, by reading all records, and kept from then on.
///
/// A few dozen bytes for each droplet, from the first time that somebody asks.
final class DropletTally: Sendable {
    private struct State {
        /// By a hash of guid and digest: two among 40,000 that are the same are less likely than a broken disk.
        var bases: [Int: DropletBase] = [:]
        var counts: [DropletBase: Int] = [:]
        /// Removed while the records are read, which may yet be read.
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

    /// - Parameter page: the records after a place, and the next place.
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

    /// The same in this process alone.
    fileprivate var tallyKey: Int {
        var hasher = Hasher()
        hasher.combine(guid)
        hasher.combine(hash)
        return hasher.finalize()
    }
}
