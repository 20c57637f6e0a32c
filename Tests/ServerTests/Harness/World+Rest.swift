import TestSupport
import Testing

extension World {
    /// The objects, once the tree has caught up with the journal, and the journal with what was deleted.
    func objectsAtRest() async throws -> Set<String> {
        #expect(try await client.get("/readyz", as: nil).status == 200, "it flushes the store")
        var seen = store.objects()
        var since = ContinuousClock.now
        try await waitUntil("the store to be at rest") {
            let now = store.objects()
            if now != seen { (seen, since) = (now, ContinuousClock.now) }
            return ContinuousClock.now > since + .milliseconds(300)
        }
        return seen
    }
}
