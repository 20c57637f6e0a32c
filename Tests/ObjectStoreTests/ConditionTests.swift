import Synchronization
import Testing

@testable import ObjectStore

@Suite("Conditions")
struct ConditionTests {
    /// Writers of one key that want it absent.
    private final class Contest: Sendable {
        private let store: FilesystemObjectStore
        private let key: ObjectKey
        private let state = Mutex((ended: 0, winners: [UInt8]()))

        init(_ store: FilesystemObjectStore, _ key: ObjectKey) {
            self.store = store
            self.key = key
        }

        var ended: Int { state.withLock { $0.ended } }
        var winners: [UInt8] { state.withLock { $0.winners } }

        func put(_ byte: UInt8) async {
            do throws(ObjectStoreError) {
                try await store.put(key, [byte], if: .absent)
                state.withLock { $0.winners.append(byte) }
            } catch {
                #expect(error == .exists(key))
            }
            state.withLock { $0.ended += 1 }
        }
    }

    @Test("A put that comes between another one's check and its change waits for it")
    func oneStep() async throws {
        let files = SimulatedFileSystem()
        let store = try FilesystemObjectStore(files: files, options: .small, logger: .quiet)
        let key = try ObjectKey("raced")
        let gate = Gate()
        let looks = Mutex(0)
        files.setFault { (call, path) in
            guard call == .look, path == "objects/raced" else { return nil }
            // The first look only warms the cache; with the second one the condition is checked.
            let isSecond = looks.withLock { count in
                count += 1
                return count == 2
            }
            if isSecond { gate.pass() }
            return nil
        }
        let contest = Contest(store, key)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await contest.put(1) }
            await gate.reached()
            group.addTask { await contest.put(2) }
            // Time enough for the second one to go wrong, if it could.
            for _ in 0..<20_000 where contest.ended == 0 { await Task.yield() }
            #expect(contest.ended == 0)
            gate.open()
            await group.waitForAll()
        }
        #expect(contest.winners == [1])
        #expect(try await store.get(key).bytes == [1])
        try await store.close()
    }
}
